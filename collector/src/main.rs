//! The `headwater` binary: arguments → configuration → a collector that runs until it is told to stop,
//! or one of the tools for what it has stored. Promises errors that say what to do, exit code 0 after a
//! drain, 1 when it cannot start, and 2 when it was called wrongly. Deliberately the only place that prints, reads arguments or sets up logging.

mod command;

use std::{
    io::{IsTerminal as _, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use headwater_collector::{
    Collector, Reload, RuleFiles,
    backup::{self, BackedUp},
    check,
    config::Config,
    doctor,
    event_log::{FileSystem, Offset, SourceName},
    export::{self, Selection},
    import::{self, Imported, Progress, mapped},
    inbound::mapping::{Mapping, Subject},
    limits::HttpLimits,
    open_files::room_for_connections,
};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};
use tracing_subscriber::EnvFilter;

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Customer events, from where they happen to whoever must react. Loses nothing.
#[derive(Parser)]
#[command(name = "headwater", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Take events, store them, and deliver them to consumers.
    Serve(Serve),
    /// Say whether `serve` would start with this configuration: the same arguments. Changes nothing; may run beside a server.
    ///
    /// Looks at the file (of mistakes in it the first one is named), then at all certificates and folders that it names, and at each
    /// consumer's destination, but asks nobody for an answer and makes no folder. Run it as the user that will serve. Exit code 1:
    /// something is wrong; what has a line in the file is named with it.
    Check(Serve),
    /// Check every byte that is stored. Changes nothing; may run beside a server.
    ///
    /// Exit code 0: sound. 1: something stored cannot be read. 2: the folder cannot be read.
    Doctor(Doctor),
    /// Write stored events to standard output, one JSON object a line. May run beside a server.
    Export(Export),
    /// Store events from lines of JSON: exported ones, plain Segment events, or with --map a table in any shape. Not beside a server.
    ///
    /// What is stored already is recognised, so an import can be run again. Exit code 1: some lines were not taken.
    Import(Import),
    /// Copy everything that is stored, as it is at one moment, into a new folder. May run beside a server.
    ///
    /// To restore, start a server on the copy. Every byte of it is read back. Exit code 1: there is no copy, or some of what
    /// it holds was damaged; the message says which.
    Backup(Backup),
    /// Consumers of a running server: list them, pause, seek, replay, redrive.
    Consumers(command::consumers::Arguments),
    /// People of a running server: find, show, merge, take apart, export, erase.
    Person(command::person::Arguments),
    /// Rules: check and test their files, and ask a running server what they came to and why.
    Rules(command::rules::Arguments),
    /// The suppression list of a running server: addresses and numbers that no action sends to.
    Suppressions(command::suppressions::Arguments),
    /// Features: their values in the past, for training a model.
    Features(command::features::Arguments),
    /// Follow the events of a running server as they are stored.
    Tail(command::tail::Arguments),
    /// Make, list and end the tokens that read events and operate the collector. May run beside a server.
    #[command(subcommand)]
    Token(command::token::Token),
}

#[derive(Args)]
struct Backup {
    /// The data folder.
    data: PathBuf,
    /// The folder to make; it must not be there, or be empty.
    dest: PathBuf,
}

#[derive(Args)]
struct Export {
    /// The data folder, or a copy of one.
    data: PathBuf,
    /// Only events after this offset.
    #[arg(long, value_name = "OFFSET")]
    after: Option<Offset>,
    /// Only events of this source.
    #[arg(long, value_name = "NAME")]
    source: Option<SourceName>,
}

#[derive(Args)]
struct Import {
    /// The data folder; made if it is not there.
    data: PathBuf,
    /// A file with one JSON object a line, or with --map a table; `-` is standard input.
    file: PathBuf,
    /// Source of events that do not name theirs.
    #[arg(long, value_name = "NAME")]
    source: Option<SourceName>,
    /// A mapping that makes events of rows in any shape, each of them `row` in its expressions. Believed as `trust = "server"`.
    #[arg(long, value_name = "FILE", requires = "source")]
    map: Option<PathBuf>,
    /// What the rows are. [default: csv if the file's name ends so, else ndjson]
    #[arg(long, requires = "map")]
    format: Option<TableFormat>,
    /// What stands between two values of CSV.
    #[arg(long, requires = "map", value_name = "CHARACTER", default_value = ",", value_parser = delimiter)]
    delimiter: u8,
}

#[derive(Clone, Copy, ValueEnum)]
enum TableFormat {
    Csv,
    Ndjson,
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text {
        "\\t" => Ok(b'\t'),
        _ => match *text.as_bytes() {
            [byte] if byte.is_ascii() && !b"\"\r\n".contains(&byte) => Ok(byte),
            _ => Err("expected one character, as `;` or `\\t`".to_owned()),
        },
    }
}

#[derive(Args)]
struct Doctor {
    /// The data folder, or a copy of one.
    data: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Serve {
    /// Configuration in TOML. Without it, a source `web` gets a write key of its own.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port to listen on; port 0 takes a free one. Wins over the configuration.
    /// [default: 127.0.0.1:8420]
    #[arg(long, value_name = "ADDR", value_parser = headwater_collector::config::parse_listen)]
    listen: Option<SocketAddr>,
    /// Folder for everything that is kept. Wins over the configuration. [default: ./data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    // What people did, and what opens it, is for the owner only: the log, the database, a backup.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let filter =
        EnvFilter::try_from_env("HEADWATER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let done = match command {
        Command::Serve(arguments) => serve(arguments).map(|()| ExitCode::SUCCESS),
        Command::Check(arguments) => command::check::run(&arguments),
        Command::Doctor(arguments) => return examine(&arguments),
        Command::Export(arguments) => export_events(arguments),
        Command::Import(arguments) => import_events(&arguments),
        Command::Backup(arguments) => back_up(&arguments),
        Command::Consumers(arguments) => ask(command::consumers::run(arguments)),
        Command::Person(arguments) => ask(command::person::run(arguments)),
        Command::Rules(arguments) => match arguments.command {
            command::rules::Command::Asked(question) => ask(command::rules::run(question)),
            command::rules::Command::OnFiles(command) => {
                command::rules::on_files(&command).map(|()| ExitCode::SUCCESS)
            }
        },
        Command::Suppressions(arguments) => ask_for(command::suppressions::run(arguments)),
        Command::Features(arguments) => command::features::run(arguments),
        Command::Tail(arguments) => ask(command::tail::run(arguments)),
        Command::Token(token) => token.run(),
    };
    done.unwrap_or_else(|error| fail(&error, ExitCode::FAILURE))
}

fn fail(error: &anyhow::Error, code: ExitCode) -> ExitCode {
    // Nobody is left to tell if standard error is closed.
    drop(writeln!(std::io::stderr(), "error: {}", in_full(error)));
    code
}

/// With its causes, but for those that it has said itself.
fn in_full(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if said.is_empty() {
            said = cause;
        } else if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    said
}

fn examine(arguments: &Doctor) -> ExitCode {
    let unreadable = |error: anyhow::Error| fail(&error, ExitCode::from(2));
    let data = arguments.data.display();
    let report = match doctor::examine(&arguments.data) {
        Ok(report) => report,
        Err(cause) => {
            return unreadable(anyhow::Error::new(cause).context(format!(
                "cannot read {data}; name the data folder, the one that `log` is in"
            )));
        }
    };
    let mut out = std::io::stdout().lock();
    let printed =
        if arguments.json { report.write_json(&mut out) } else { report.write_text(&mut out) };
    match printed {
        Ok(()) if report.sound => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(cause) => unreadable(anyhow::Error::new(cause).context("cannot print the report")),
    }
}

fn export_events(arguments: Export) -> anyhow::Result<ExitCode> {
    let Export { data, after, source } = arguments;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let exported =
        export::export(&data, &Selection { after, source }, &mut out).with_context(|| {
            format!(
                "cannot export {}; name the data folder, the one that `log` is in",
                data.display()
            )
        })?;
    for unreadable in &exported.unreadable {
        writeln!(std::io::stderr(), "missing: {unreadable}")?;
    }
    Ok(if exported.unreadable.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn import_events(arguments: &Import) -> anyhow::Result<ExitCode> {
    let Import { data, file, source, map, .. } = arguments;
    let map = map.as_deref().map(|map| Mapping::open(map, Subject::Row)).transpose()?;
    let mut lines: Box<dyn std::io::BufRead> = match file.as_os_str() == "-" {
        true => Box::new(std::io::stdin().lock()),
        false => {
            let opened = std::fs::File::open(file);
            let opened = opened.with_context(|| format!("cannot read {}", file.display()))?;
            Box::new(std::io::BufReader::new(opened))
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut progress = Printed { reached: Instant::now() };
    let imported = match (&map, source) {
        (Some(map), Some(source)) => {
            let format = arguments.format();
            let rows = mapped::import(data, &mut lines, format, map, source, &mut progress);
            runtime.block_on(rows)?
        }
        _ => runtime.block_on(import::import(data, &mut lines, source.as_ref(), &mut progress))?,
    };
    progress.print(imported);
    if imported.accepted > 0 {
        drop(writeln!(std::io::stderr(), "{SETS_NOTHING_OFF}"));
    }
    Ok(if imported.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Nobody is told of what was long ago; who expects it hears of it here.
const SETS_NOTHING_OFF: &str = "rules count these events, and do nothing because of them: `headwater rules firings` lists as held, `imported`, what they \
    came to. Whoever is over a line now is told of it only after they were back; the guide to rules says how to tell them nevertheless";

impl Import {
    fn format(&self) -> mapped::Format {
        let is_csv = self.file.extension().is_some_and(|it| it.eq_ignore_ascii_case("csv"));
        match self.format.unwrap_or(if is_csv { TableFormat::Csv } else { TableFormat::Ndjson }) {
            TableFormat::Csv => mapped::Format::Csv { delimiter: self.delimiter },
            TableFormat::Ndjson => mapped::Format::Ndjson,
        }
    }
}

fn back_up(Backup { data, dest }: &Backup) -> anyhow::Result<ExitCode> {
    let BackedUp { events, end, damaged, headless } = backup::backup(data, dest)?;
    let copy = dest.display();
    writeln!(std::io::stdout(), "{events} events, up to offset {end}, are in {copy}")?;
    for damage in &damaged {
        writeln!(std::io::stderr(), "damaged: {damage}")?;
    }
    for segment in &headless {
        writeln!(std::io::stderr(), "damaged header, its events can be read: {segment}")?;
    }
    if damaged.is_empty() && headless.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    anyhow::bail!(
        "the copy in {copy} holds all that can be read, and the damage named above, which is in the data folder too \
         (`headwater doctor {}`); keep the backups from before",
        data.display()
    )
}

/// Speaks to a running server.
fn ask(asked: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    ask_for(async { asked.await.map(|()| ExitCode::SUCCESS) })
}

fn ask_for(asked: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(asked)
}

/// Progress on standard error; nobody is left to tell if that is closed.
struct Printed {
    reached: Instant,
}

impl Printed {
    fn print(&self, imported: Imported) {
        let Imported { lines, accepted, duplicate, refused, ignored } = imported;
        // Only a mapping ignores.
        let ignored = if ignored > 0 { format!(", {ignored} ignored") } else { String::new() };
        drop(writeln!(
            std::io::stderr(),
            "{lines} lines: {accepted} accepted, {duplicate} duplicate, {refused} refused{ignored}"
        ));
    }
}

impl Progress for Printed {
    fn refused(&mut self, line: u64, why: &str) {
        drop(writeln!(std::io::stderr(), "line {line}: {why}"));
    }

    fn reached(&mut self, imported: Imported) {
        if self.reached.elapsed() >= PROGRESS_EVERY {
            self.reached = Instant::now();
            self.print(imported);
        }
    }
}

/// Often enough to see that it goes on.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Reading takes milliseconds; beyond this a disk or network does not answer.
const RELOAD_PATIENCE: Duration = Duration::from_secs(10);

/// The same on every architecture that Linux and macOS run on, but MIPS.
const SIGXFSZ: i32 = 25;

impl Serve {
    /// The configuration as the file and the command line say now, and the file's text.
    fn configured(&self) -> anyhow::Result<(Config, String)> {
        let (mut config, text) = match &self.config {
            Some(file) => Config::read(file)?,
            None => (Config::default(), String::new()),
        };
        config.listen = self.listen.unwrap_or(config.listen);
        config.data = self.data.clone().unwrap_or(config.data);
        Ok((config, text))
    }

    /// The same while the server runs, when there must be no waiting for someone who writes into a pipe.
    fn read_again(&self) -> anyhow::Result<Config> {
        if let Some(file) = &self.config {
            let about = std::fs::metadata(file);
            let about = about.with_context(|| format!("cannot read {}", file.display()))?;
            let is_file = about.is_file();
            anyhow::ensure!(is_file, "{} is no file; put one there and try again", file.display());
        }
        Ok(self.configured()?.0)
    }
}

fn serve(arguments: Serve) -> anyhow::Result<()> {
    let (config, _) = arguments.configured()?;
    if let Some(warning) = check::in_the_clear(&config) {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        // Without a handler a file-size limit (`ulimit -f`) would end the process; with one it is an error of the disk.
        let _too_long = signal(SignalKind::from_raw(SIGXFSZ))?;
        let (mut terminate, mut interrupt, hangup) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        );
        let (listen, data) = (config.listen, config.data.clone());
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        let listener = TcpListener::bind(listen).await.with_context(|| {
            format!("cannot listen on {listen}; choose another address with --listen")
        })?;
        let address = listener.local_addr()?;
        let limits = HttpLimits { connections: room_for_connections(), ..HttpLimits::default() };
        let collector = Collector::open(config, Arc::new(FileSystem))?.with_limits(limits);
        if let Err(error) = announce(&collector, scheme, address) {
            // A server is not stopped by whoever reads its output, but what it said must not be lost.
            tracing::warn!(%error, "cannot write to standard output");
            if collector.new_admin_token().is_some() {
                let data = data.display();
                tracing::warn!(
                    "so nobody has seen the admin token; make another with: headwater token rotate first '{data}'"
                );
            }
        }
        let reloads = tokio::spawn(reload_at(hangup, collector.reload(), arguments));
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        collector.serve(listener, shutdown).await;
        reloads.abort();
        Ok(())
    })
}

/// Reads the configuration again at each signal.
async fn reload_at(mut hangup: Signal, reload: Reload, arguments: Serve) {
    let (reload, arguments) = (Arc::new(reload), Arc::new(arguments));
    while hangup.recv().await.is_some() {
        let (reload, arguments) = (Arc::clone(&reload), Arc::clone(&arguments));
        let (tell, told) = oneshot::channel();
        // A thread that the end does not wait for: a file may be where reading it never ends.
        let reading =
            std::thread::Builder::new().name("reload".to_owned()).spawn(move || {
                let read = arguments.read_again();
                // Whoever has given up on this reading may have put a later one into force.
                if !tell.is_closed() {
                    drop(tell.send(read.and_then(|config| {
                        Ok((reload.apply(&config)?, reload.rule_files(&config)))
                    })));
                }
            });
        let done = match reading {
            Ok(_) => match tokio::time::timeout(RELOAD_PATIENCE, told).await {
                Ok(told) => told.unwrap_or_else(|lost| Err(lost.into())),
                Err(_) => Err(anyhow::anyhow!("it could not be read within {RELOAD_PATIENCE:?}")),
            },
            Err(error) => Err(error.into()),
        };
        match done {
            Ok((later, rules)) => {
                match later.is_empty() {
                    true => tracing::info!("the configuration was read again"),
                    false => tracing::warn!(
                        "the configuration was read again; what it says of {} needs a restart",
                        later.join(", ")
                    ),
                }
                match rules {
                    None => {}
                    Some(RuleFiles::Same) => tracing::info!("the rule files are those in use"),
                    Some(RuleFiles::Others) => tracing::warn!(
                        "the rule files are others than those in use, and sound: a restart puts them into force"
                    ),
                    Some(RuleFiles::Wrong(wrong)) => {
                        tracing::error!("the rules in use stay, and a restart would fail: {wrong}");
                    }
                }
            }
            Err(error) => {
                tracing::error!("the old configuration stays in force: {}", in_full(&error));
            }
        }
    }
}

/// What the operator needs to go on, on standard output; everything else goes to the log.
fn announce(collector: &Collector, scheme: &str, address: SocketAddr) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "headwater listens on {scheme}://{address}")?;
    // A browser on this machine cannot open "every address".
    let near = match address.ip().is_unspecified() {
        true => format!("localhost:{}", address.port()),
        false => address.to_string(),
    };
    if let Some(key) = collector.default_write_key() {
        writeln!(out, "put this into your pages:")?;
        writeln!(
            out,
            "  <script async src=\"{scheme}://{near}/headwater.js\" data-write-key=\"{key}\"></script>"
        )?;
    }
    if let Some(token) = collector.new_admin_token() {
        writeln!(out, "this token reads events and operates the collector; it is shown only now:")?;
        writeln!(out, "admin token: {token}")?;
    }
    writeln!(out, "people, and what they do now: {scheme}://{near}/console")?;
    out.flush()
}
