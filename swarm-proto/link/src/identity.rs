//! A node key as the identity of a link: raw public keys (RFC 7250) in TLS 1.3, and nothing else.
//!
//! Who dials knows the key that must answer. The key is written into the TLS server name, and the
//! verifier compares it with the 44 bytes that the peer shows. Because resumption tickets are filed
//! under the server name, a ticket can only go back to the relay that gave it. The name itself is
//! never sent.
//!
//! Source: `docs/spec/links.md` [LNK-1] to [LNK-3].

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, ResolvesClientCert, Resumption};
use rustls::crypto::aws_lc_rs;
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    SignatureScheme,
};
use swarm_proto::crypto::SecretKey;
use swarm_proto::hash;
use swarm_proto::id::NodeKey;

use crate::tickets::{TicketSealer, TicketsKept};

/// A relay's identity on links.
#[derive(Clone)]
pub struct Identity {
    key: NodeKey,
    reset_key: [u8; 32],
    certified: Arc<CertifiedKey>,
}

impl Identity {
    /// Takes the 32-byte seed of an Ed25519 key.
    ///
    /// # Errors
    /// If the TLS library does not take the key, which no seed causes.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, Error> {
        let key = NodeKey(*SecretKey::from_seed(seed).public());
        let mut pkcs8 = PKCS8_PREFIX.to_vec();
        pkcs8.extend_from_slice(seed);
        let signer = aws_lc_rs::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8))?;
        let shown = CertificateDer::from(spki(&key).to_vec());
        Ok(Self {
            key,
            reset_key: hash::derive("poste link reset", &[seed]),
            certified: Arc::new(CertifiedKey::new(vec![shown], signer)),
        })
    }

    /// The public key: what others pin.
    pub fn node_key(&self) -> NodeKey {
        self.key
    }

    /// Signs stateless resets. It depends on the seed alone, so that after a restart a relay can tell
    /// its peers at once that their links are gone.
    pub(crate) fn reset_key(&self) -> [u8; 32] {
        self.reset_key
    }

    /// The side that is dialled; keys that are proven to it are noted in `proven`.
    pub(crate) fn server_crypto(
        &self,
        proven: &Arc<Proven>,
    ) -> Result<QuicServerConfig, CryptoFailure> {
        Ok(QuicServerConfig::try_from(self.server_tls(proven)?)?)
    }

    fn server_tls(&self, proven: &Arc<Proven>) -> Result<rustls::ServerConfig, Error> {
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(AnyNodeKey(Arc::clone(proven))))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(
                Arc::clone(&self.certified),
            )));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.ticketer = Arc::new(TicketSealer::new(TICKET_KEY_LIFE)?);
        // The next handshake uses one, and gets a new one.
        config.send_tls13_tickets = 1;
        Ok(config)
    }
}

/// Why the TLS library refused a configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CryptoFailure {
    #[error(transparent)]
    Tls(#[from] Error),
    #[error(transparent)]
    Suite(#[from] NoInitialCipherSuite),
}

/// Keys that were proven by a signature in handshakes that nobody has asked about yet: a handshake that goes
/// on from an earlier one brings no signature, which is how the two are told apart. For counting only.
#[derive(Debug, Default)]
pub(crate) struct Proven(Mutex<BTreeSet<NodeKey>>);

impl Proven {
    fn note(&self, shown: &CertificateDer<'_>) {
        let mut proven = self.proven();
        if let Some(key) = shown_key(shown)
            && proven.len() < PROVEN_MAX
        {
            proven.insert(key);
        }
    }

    /// Whether this key was proven since it was last asked for.
    pub(crate) fn take(&self, key: &NodeKey) -> bool {
        self.proven().remove(key)
    }

    fn proven(&self) -> MutexGuard<'_, BTreeSet<NodeKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The dialling side of an endpoint; keys that are proven to it are noted in `proven`.
pub(crate) fn client_crypto(
    identity: Option<&Identity>,
    tickets_max: usize,
    proven: &Arc<Proven>,
) -> Result<QuicClientConfig, CryptoFailure> {
    let config = client_tls(identity, tickets_max, proven)?;
    Ok(QuicClientConfig::try_from(config)?)
}

/// With an identity it shows its key and resumes; without one it shows nothing and keeps no ticket,
/// since a ticket would tie two visits of one person together ([LNK-3]).
fn client_tls(
    identity: Option<&Identity>,
    tickets_max: usize,
    proven: &Arc<Proven>,
) -> Result<rustls::ClientConfig, Error> {
    let (shown, resumption): (Arc<dyn ResolvesClientCert>, Resumption) = match identity {
        Some(identity) => (
            Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::clone(
                &identity.certified,
            ))),
            Resumption::store(Arc::new(TicketsKept::new(tickets_max))),
        ),
        None => (Arc::new(NoKey), Resumption::disabled()),
    };
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedByName(Arc::clone(proven))))
        .with_client_cert_resolver(shown);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = false;
    config.resumption = resumption;
    Ok(config)
}

/// The name under which a relay is dialled and its tickets are filed: 64 hexadecimal digits in two
/// labels, since one label holds 63.
pub(crate) fn server_name(key: &NodeKey) -> String {
    let digits = key.to_hex();
    let (left, right) = digits.split_at(32);
    format!("{left}.{right}")
}

/// The node key in what a peer showed; `None` unless it is exactly one raw Ed25519 key ([LNK-1]).
pub(crate) fn shown_key(shown: &[u8]) -> Option<NodeKey> {
    let key = shown.strip_prefix(&SPKI_PREFIX)?;
    <[u8; 32]>::try_from(key).ok().map(NodeKey)
}

pub(crate) fn named_key(name: &ServerName<'_>) -> Option<NodeKey> {
    let ServerName::DnsName(name) = name else {
        return None;
    };
    let (left, right) = name.as_ref().split_once('.')?;
    (left.len() == 32)
        .then(|| NodeKey::from_hex(&format!("{left}{right}")))
        .flatten()
}

fn spki(key: &NodeKey) -> [u8; SPKI_BYTES] {
    let mut spki = [0; SPKI_BYTES];
    for (to, from) in spki.iter_mut().zip(SPKI_PREFIX.iter().chain(&key.0)) {
        *to = *from;
    }
    spki
}

/// Only the hybrid key exchange: there is no older program to talk to, so there is nothing to fall
/// back to and nothing to be talked down to ([LNK-2]).
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768],
        ..aws_lc_rs::default_provider()
    })
}

fn verify_signature(
    message: &[u8],
    shown: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    if signature.scheme != SignatureScheme::ED25519 {
        return Err(CertificateError::BadSignature.into());
    }
    verify_tls13_signature_with_raw_key(
        message,
        &SubjectPublicKeyInfoDer::from(shown.as_ref()),
        signature,
        &aws_lc_rs::default_provider().signature_verification_algorithms,
    )
}

fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(PeerIncompatible::Tls12NotOffered.into())
}

/// Takes the key that the server name names.
#[derive(Debug)]
struct PinnedByName(Arc<Proven>);

impl ServerCertVerifier for PinnedByName {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match (named_key(name), shown_key(shown), more) {
            (Some(pinned), Some(shown), []) if pinned == shown => {
                Ok(ServerCertVerified::assertion())
            }
            _ => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _shown: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verified = verify_signature(message, shown, signature)?;
        self.0.note(shown);
        Ok(verified)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Takes any node key that the peer proves, or none; what it may do is decided after the handshake.
#[derive(Debug)]
struct AnyNodeKey(Arc<Proven>);

impl ClientCertVerifier for AnyNodeKey {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match (shown_key(shown), more) {
            (Some(_), []) => Ok(ClientCertVerified::assertion()),
            _ => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _shown: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verified = verify_signature(message, shown, signature)?;
        self.0.note(shown);
        Ok(verified)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Offers raw keys, as every peer must, and then shows none.
#[derive(Debug)]
struct NoKey;

impl ResolvesClientCert for NoKey {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// The application protocol of links.
const ALPN: &[u8] = b"poste/1";

/// How long a relay seals tickets with one key; those of the key before are still taken. Two relays of a large
/// network meet about once a day, so that a ticket should last for two at least ([LNK-11]).
const TICKET_KEY_LIFE: Duration = Duration::from_secs(2 * 24 * 3_600);

/// Keys noted at once: more than handshakes can be under way. Further ones count as resumed.
const PROVEN_MAX: usize = 4_096;

/// Bytes of an Ed25519 subject public key info: a fixed prefix and the key.
const SPKI_BYTES: usize = 12 + 32;

/// RFC 8410, section 4: algorithm 1.3.101.112 and a bit string of 32 bytes.
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// RFC 8410, section 7: version 0, the same algorithm, an octet string of 32 bytes in another.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::quic::{ClientConnection, ServerConnection, Version};
    use rustls::{HandshakeKind, NamedGroup};

    /// [LNK-1]
    #[test]
    fn only_the_exact_44_bytes_are_a_key() {
        let key = Identity::from_seed(&[7; 32]).unwrap().node_key();
        let shown = spki(&key);
        assert_eq!(shown_key(&shown), Some(key));
        assert_eq!(shown_key(&shown[..43]), None);
        assert_eq!(shown_key(&[&shown[..], &[0]].concat()), None);
        assert_eq!(shown_key(&[&[0x30], &shown[..]].concat()), None);
        let mut other = shown;
        other[8] ^= 1;
        assert_eq!(shown_key(&other), None);
    }

    /// [LNK-3]
    #[test]
    fn a_server_name_names_one_relay() {
        let key = NodeKey([0xa7; 32]);
        let name = ServerName::try_from(server_name(&key)).unwrap();
        assert_eq!(named_key(&name), Some(key));
        for other in ["relay.example", "127.0.0.1", &"a".repeat(60)] {
            let name = ServerName::try_from(other).unwrap();
            assert_eq!(named_key(&name), None);
        }
    }

    /// A TLS handshake as QUIC runs it, without QUIC. Gives what the dialler saw: the kind of
    /// handshake and the key exchange.
    fn handshake(
        dial: &Arc<rustls::ClientConfig>,
        name: &NodeKey,
        serve: &Arc<rustls::ServerConfig>,
    ) -> Result<(HandshakeKind, NamedGroup), Error> {
        let name = ServerName::try_from(server_name(name)).unwrap();
        let (dial, serve) = (Arc::clone(dial), Arc::clone(serve));
        let mut client = ClientConnection::new(dial, Version::V1, name, vec![])?;
        let mut server = ServerConnection::new(serve, Version::V1, vec![])?;
        for _ in 0..4 {
            loop {
                let mut flight = Vec::new();
                let change = client.write_hs(&mut flight);
                server.read_hs(&flight)?;
                if change.is_none() {
                    break;
                }
            }
            loop {
                let mut flight = Vec::new();
                let change = server.write_hs(&mut flight);
                client.read_hs(&flight)?;
                if change.is_none() {
                    break;
                }
            }
        }
        assert!(!client.is_handshaking() && !server.is_handshaking());
        let group = client.negotiated_key_exchange_group().unwrap().name();
        Ok((client.handshake_kind().unwrap(), group))
    }

    /// [LNK-2], [LNK-3]
    #[test]
    fn a_ticket_goes_back_to_its_relay_and_to_no_other() {
        let [ours, theirs, other] = [1, 2, 3].map(|seed| Identity::from_seed(&[seed; 32]).unwrap());
        let dial = Arc::new(client_tls(Some(&ours), 8, &Arc::default()).unwrap());
        let [theirs_tls, other_tls] =
            [&theirs, &other].map(|relay| Arc::new(relay.server_tls(&Arc::default()).unwrap()));
        let hybrid = NamedGroup::X25519MLKEM768;

        let to_theirs = || handshake(&dial, &theirs.node_key(), &theirs_tls);
        assert_eq!(to_theirs(), Ok((HandshakeKind::Full, hybrid)));
        assert_eq!(to_theirs(), Ok((HandshakeKind::Resumed, hybrid)));
        let to_other = handshake(&dial, &other.node_key(), &other_tls);
        assert_eq!(to_other, Ok((HandshakeKind::Full, hybrid)));

        let impostor = handshake(&dial, &theirs.node_key(), &other_tls);
        let refused = CertificateError::ApplicationVerificationFailure;
        assert_eq!(impostor, Err(Error::InvalidCertificate(refused)));
    }

    /// [LNK-3]
    #[test]
    fn a_correspondent_never_resumes() {
        let relay = Identity::from_seed(&[1; 32]).unwrap();
        let serve = Arc::new(relay.server_tls(&Arc::default()).unwrap());
        let dial = Arc::new(client_tls(None, 8, &Arc::default()).unwrap());
        for _ in 0..2 {
            let (kind, _) = handshake(&dial, &relay.node_key(), &serve).unwrap();
            assert_eq!(kind, HandshakeKind::Full);
        }
    }

    /// [LNK-2]
    #[test]
    fn a_dialler_without_the_hybrid_key_exchange_is_refused() {
        let relay = Identity::from_seed(&[1; 32]).unwrap();
        let serve = Arc::new(relay.server_tls(&Arc::default()).unwrap());
        let old = CryptoProvider {
            kx_groups: vec![aws_lc_rs::kx_group::X25519],
            ..aws_lc_rs::default_provider()
        };
        let mut dial = rustls::ClientConfig::builder_with_provider(Arc::new(old))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(PinnedByName(Arc::default())))
            .with_client_cert_resolver(Arc::new(NoKey));
        dial.alpn_protocols = vec![ALPN.to_vec()];
        let refused = handshake(&Arc::new(dial), &relay.node_key(), &serve);
        assert!(matches!(refused, Err(Error::PeerIncompatible(_))));
    }

    /// [LNK-2]
    #[test]
    fn only_the_hybrid_key_exchange_is_offered() {
        let names: Vec<_> = provider().kx_groups.iter().map(|kx| kx.name()).collect();
        assert_eq!(names, [NamedGroup::X25519MLKEM768]);
    }
}
