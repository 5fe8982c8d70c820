//! Who is in the swarm: records, the list, and who may hold.
