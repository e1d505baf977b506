//! A program of some language that uses the SDK, at the other end of two pipes. Promises that it ends with the test, and that it can be
//! ended as SIGKILL ends it. Knows no scenario.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use serde_json::Value;

use crate::collector::PATIENCE;

/// The languages that the suite runs (`HEADWATER_CALLERS`, default `rust`), each with its program.
pub(crate) fn languages() -> Vec<String> {
    let named = env::var("HEADWATER_CALLERS").unwrap_or_else(|_| "rust".into());
    named.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

fn program(language: &str) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    match language {
        // Cargo builds a package's examples before it runs its tests.
        "rust" => {
            let deps = env::current_exe().unwrap().parent().unwrap().to_owned();
            deps.parent().unwrap().join("examples/caller")
        }
        "kotlin" | "swift" => here.join(language).join("caller"),
        other => panic!("HEADWATER_CALLERS names {other:?}: there are rust, kotlin and swift"),
    }
}

pub(crate) struct Caller {
    process: Child,
    to: Option<ChildStdin>,
    from: Receiver<Value>,
}

impl Caller {
    pub(crate) fn start(language: &str) -> Self {
        let program = program(language);
        let mut process = Command::new(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
        let (say, from) = channel();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // A line that a kill has cut is none.
                let Ok(said) = serde_json::from_str(&line) else { continue };
                if say.send(said).is_err() {
                    return;
                }
            }
        });
        let to = process.stdin.take();
        Self { process, to, from }
    }

    /// Gives a command without waiting for what comes of it.
    pub(crate) fn tell(&mut self, command: &Value) {
        // One that was killed hears nothing.
        drop(self.to.as_mut().map(|to| writeln!(to, "{command}").and_then(|()| to.flush())));
    }

    /// The next line it says.
    pub(crate) fn hear(&self) -> Value {
        let said: Value = self.from.recv_timeout(PATIENCE).expect("the caller says something");
        assert!(said.get("error").is_none(), "{said}");
        said
    }

    /// Lines that it has said by now, and will not say any more once it is dead.
    pub(crate) fn heard(self) -> Vec<Value> {
        let mut this = self;
        drop(this.process.wait());
        this.from.iter().collect()
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
    }

    /// Ends it by the end of its input, as a program ends.
    pub(crate) fn end(mut self) {
        drop(self.to.take());
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
