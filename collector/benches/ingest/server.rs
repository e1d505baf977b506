//! The programs that are measured, as processes of their own: started on a fresh folder, looked at, read back, stopped.
//! Promises that a process and its folder end with the value. Knows nothing of how they are loaded.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};

use crate::events::read_message_id;

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Ours,
    Floor,
}

impl Program {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "headwater",
            Self::Floor => "floor",
        }
    }
}

/// One of them, running.
pub(crate) struct Server {
    process: Child,
    folder: PathBuf,
    pub(crate) address: SocketAddr,
    pub(crate) write_key: String,
    pub(crate) admin_token: String,
}

/// `main` knows by this argument that it is to be the floor.
pub(crate) const FLOOR: &str = "--serve-floor";
/// Records of one read: the collector's own maximum.
const READ_AT_ONCE: usize = 1_000_000;

impl Server {
    pub(crate) fn start(program: Program, folder: &Path) -> anyhow::Result<Self> {
        Self::start_with(program, folder, None)
    }

    /// Ours may have a configuration.
    pub(crate) fn start_with(
        program: Program,
        folder: &Path,
        config: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let folder = folder.join(program.name());
        fs::create_dir_all(&folder)?;
        let begun_before = folder.join("state.db").exists();
        let mut command = match program {
            Program::Ours => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
                command.args(["serve", "--listen", "127.0.0.1:0"]);
                if let Some(config) = config {
                    command.arg("--config").arg(config);
                }
                command.arg("--data");
                command.env("HEADWATER_LOG", "warn");
                command
            }
            Program::Floor => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg(FLOOR);
                command
            }
        };
        let mut process = command.arg(&folder).stdout(Stdio::piped()).spawn()?;
        let said = process.stdout.take().context("its output is a pipe")?;
        let mut server = Self {
            process,
            folder,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            write_key: String::new(),
            admin_token: String::new(),
        };
        for line in BufReader::new(said).lines() {
            let line = line?;
            if let Some((_, address)) = line.split_once(" listens on http://") {
                server.address = address.parse()?;
            } else if let Some((_, key)) = line.split_once("data-write-key=\"") {
                server.write_key = key.split('"').next().unwrap_or_default().to_owned();
            } else if let Some(token) = line.strip_prefix("admin token: ") {
                server.admin_token = token.to_owned();
            }
            // The token is shown once in the life of a folder.
            let known = if begun_before { &server.write_key } else { &server.admin_token };
            if program == Program::Floor || !known.is_empty() {
                return Ok(server);
            }
        }
        bail!("{} ended before it served", program.name());
    }

    /// The most memory it has had at once, in bytes.
    pub(crate) fn peak_memory(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(kib.context("the system does not tell")?.trim().parse::<u64>()? * 1024)
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Reads the log back: each event that was acknowledged is in it, once, and nothing else is.
    pub(crate) fn check_log(&self, acknowledged: &[usize]) -> anyhow::Result<()> {
        let expected: usize = acknowledged.iter().sum();
        let mut seen: Vec<Vec<bool>> = acknowledged.iter().map(|&n| vec![false; n]).collect();
        let (mut after, mut events) = (String::from("0"), 0);
        loop {
            let path = format!("/v1/events?after={after}&limit={READ_AT_ONCE}");
            let mut lines = self.get(&path)?;
            let mut line = Vec::new();
            let before = events;
            while lines.read_until(b'\n', &mut line)? > 0 {
                let id = member(&line, b"\"messageId\":\"").context("a record without its id")?;
                let place = read_message_id(id)
                    .and_then(|(connection, event)| seen.get_mut(connection)?.get_mut(event));
                let Some(place) = place else {
                    bail!("stored and not acknowledged: {}", String::from_utf8_lossy(&line));
                };
                ensure!(!*place, "stored twice: {}", String::from_utf8_lossy(&line));
                *place = true;
                events += 1;
                if events - before == READ_AT_ONCE || events == expected {
                    let offset =
                        member(&line, b"\"offset\":\"").context("a record without offset")?;
                    after = String::from_utf8_lossy(offset).into_owned();
                }
                line.clear();
            }
            if events - before < READ_AT_ONCE {
                break;
            }
        }
        ensure!(events == expected, "{expected} events were acknowledged and {events} are stored");
        let page = {
            let mut page = String::new();
            self.get("/metrics")?.read_to_string(&mut page)?;
            page
        };
        let counted = page.lines().find_map(|line| line.strip_prefix("headwater_log_end_offset "));
        let counted: usize = counted.context("no metric of the log's end")?.parse()?;
        ensure!(counted == expected, "the metrics count {counted} events of {expected}");
        Ok(())
    }

    /// The body of an answer. As HTTP/1.0, so that it ends with the connection and needs no decoding.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<BufReader<TcpStream>> {
        let mut stream = TcpStream::connect(self.address)?;
        let token = &self.admin_token;
        write!(stream, "GET {path} HTTP/1.0\r\nauthorization: Bearer {token}\r\n\r\n")?;
        let mut answer = BufReader::with_capacity(1 << 18, stream);
        let mut line = String::new();
        answer.read_line(&mut line)?;
        ensure!(line.split(' ').nth(1) == Some("200"), "{path}: {line}");
        while line != "\r\n" {
            line.clear();
            ensure!(answer.read_line(&mut line)? > 0, "{path}: no end of the head");
        }
        Ok(answer)
    }

    /// Ends it as an operator would, and leaves its folder as it is.
    #[allow(dead_code, reason = "each benchmark uses its own part of this")]
    pub(crate) fn leave(mut self) -> anyhow::Result<()> {
        let pid = self.process.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().context("`kill` is needed")?;
        self.process.wait()?;
        self.folder = PathBuf::new();
        Ok(())
    }

    /// Ends it as an operator would, and says how many bytes its folder holds then.
    pub(crate) fn stop(mut self) -> anyhow::Result<u64> {
        let pid = self.process.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().context("`kill` is needed")?;
        self.process.wait()?;
        size(&self.folder)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        drop(self.process.kill());
        drop(self.process.wait());
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// The text of a member of a line of JSON, whose name and opening quote these are.
pub(crate) fn member<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let from = memchr::memmem::find(line, name)? + name.len();
    let len = memchr::memchr(b'"', &line[from..])?;
    Some(&line[from..from + len])
}

/// Bytes of the files in a folder and those below it.
pub(crate) fn size(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.metadata()?;
        bytes += if kind.is_dir() { size(&entry.path())? } else { kind.len() };
    }
    Ok(bytes)
}
