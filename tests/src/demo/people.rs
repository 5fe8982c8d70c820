//! Ada and Bob: each a home, a key file, an address of their own and processes of the client's program.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{DemoFailure, POSTE_ROLE};

/// Somebody who writes or reads.
pub(super) struct Person {
    name: &'static str,
    home: PathBuf,
    key: PathBuf,
    bind: Ipv4Addr,
    exe: PathBuf,
}

/// What a command answered: one JSON value a line, or each of a list, and its exit code.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) lines: Vec<Value>,
    pub(super) code: i32,
    said: String,
    command: String,
    who: &'static str,
}

impl Person {
    /// Somebody called `name` whose things are in `dir` and who sends from `bind`.
    pub(super) fn new(name: &'static str, dir: &Path, bind: Ipv4Addr) -> Result<Self, DemoFailure> {
        let own = name.to_lowercase();
        Ok(Self {
            name,
            home: dir.join(&own),
            key: dir.join(format!("{own}.key")),
            bind,
            exe: std::env::current_exe()?,
        })
    }

    /// Runs one command to its end.
    pub(super) async fn run(&self, args: &[&str], input: &str) -> Result<Answer, DemoFailure> {
        let mut child = Command::new(&self.exe)
            .arg(POSTE_ROLE)
            .args(self.own_args())
            .arg("--json")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).await?;
        }
        let output = child.wait_with_output().await?;
        self.answer(args, &output)
    }

    /// The same, and any exit code but 0 is a failure.
    pub(super) async fn must(&self, args: &[&str], input: &str) -> Result<Answer, DemoFailure> {
        self.run(args, input).await?.must()
    }

    /// What to type in a terminal to act as this person.
    pub(super) fn command_line(&self, args: &str) -> String {
        let own: Vec<String> = self.own_args();
        let exe = self.exe.display();
        format!("{exe} {POSTE_ROLE} {} {args}", own.join(" "))
    }

    fn own_args(&self) -> Vec<String> {
        vec![
            "--home".to_owned(),
            self.home.display().to_string(),
            "--key-file".to_owned(),
            self.key.display().to_string(),
            "--bind".to_owned(),
            self.bind.to_string(),
        ]
    }

    fn answer(&self, args: &[&str], output: &Output) -> Result<Answer, DemoFailure> {
        let command = args.join(" ");
        let text = String::from_utf8_lossy(&output.stdout);
        let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
        let lines = lines.map_err(|_| DemoFailure::Answer {
            who: self.name,
            command: command.clone(),
            said: text.into_owned(),
        })?;
        let each = |line| match line {
            Value::Array(rows) => rows,
            one => vec![one],
        };
        Ok(Answer {
            lines: lines.into_iter().flat_map(each).collect(),
            code: output.status.code().unwrap_or(-1),
            said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            command,
            who: self.name,
        })
    }
}

impl Answer {
    /// The answer, if the command ended well.
    pub(super) fn must(self) -> Result<Self, DemoFailure> {
        if self.code == 0 {
            return Ok(self);
        }
        Err(DemoFailure::Person {
            who: self.who,
            command: self.command,
            status: self.code.to_string(),
            said: self.said,
        })
    }

    /// A text field of the first line.
    pub(super) fn text(&self, field: &str) -> Result<String, DemoFailure> {
        let text = self.lines.first().and_then(|line| line[field].as_str());
        text.map(str::to_owned).ok_or_else(|| DemoFailure::Answer {
            who: self.who,
            command: self.command.clone(),
            said: format!("no {field}"),
        })
    }

    /// Lines in which a text field stands.
    pub(super) fn with<'a>(&'a self, field: &'a str) -> impl Iterator<Item = (&'a Value, &'a str)> {
        self.lines
            .iter()
            .filter_map(move |line| Some((line, line[field].as_str()?)))
    }
}
