//! The mail server of the tests: aiosmtpd, in a process of its own.
//! Promises free ports, and an end with its owner. Deliberately judges no mail: the recipient's name says what becomes of it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use serde_json::Value;

/// Python on a busy machine takes this long at worst.
const PATIENCE: Duration = Duration::from_secs(60);

/// The mail server, in a process of its own.
pub(crate) struct MailServer {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) ports: Value,
    taken: mpsc::Receiver<Value>,
    process: Child,
}

impl MailServer {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        fs::write(&certificate, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.build/smtp/bin/python");
        assert!(python.exists(), "{} is not there: make .build/smtp", python.display());
        let mut process = Command::new(python)
            .arg(super::folder().join("smtp_server.py"))
            .args([&certificate, &key])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // It complains of clients that hang up, which is what is tested.
            .stderr(fs::File::create(folder.path().join("said")).unwrap())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (say, taken) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                drop(say.send(serde_json::from_str(&line).unwrap()));
            }
        });
        let ports = taken.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            panic!("no ports: {}", fs::read_to_string(folder.path().join("said")).unwrap())
        });
        Self { folder, ports, taken, process }
    }

    /// The configuration of a destination there.
    pub(crate) fn lines(&self, tls: &str) -> String {
        let login =
            if tls == "none" { "" } else { "username = 'shop'\npassword = 'open sesame'\n" };
        let port = &self.ports[if tls == "none" { "plain" } else { tls }];
        format!(
            "kind = 'email'\nhost = 'localhost'\nport = {port}\ntls = '{tls}'\n{login}authorities = '{}'\n\
             from = 'Größe <hello@shop.example>'\nunsubscribe = 'https://shop.example/u/{{{{ person.id }}}}'\n",
            self.folder.path().join("c.pem").display()
        )
    }

    pub(crate) fn next(&self) -> Value {
        self.taken.recv_timeout(PATIENCE).expect("it takes a mail")
    }

    pub(crate) fn took_nothing(&self) -> bool {
        self.taken.try_recv().is_err()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
