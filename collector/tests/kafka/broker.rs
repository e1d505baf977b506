//! A real Kafka broker in a process of its own, on loopback, that can be killed, stopped and started again.
//! Promises a free port, and that the process ends with the test. Deliberately knows nothing of the collector.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    message::{Headers as _, Message as _},
    types::RDKafkaErrorCode,
};

/// Starting Java on a busy machine takes this long at worst.
const PATIENCE: Duration = Duration::from_secs(120);
const PARTITIONS: i32 = 3;

pub(crate) struct Broker {
    folder: PathBuf,
    port: u16,
    tls_port: u16,
    process: Option<Child>,
}

/// A message as a reader of the topic gets it.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) payload: Vec<u8>,
}

impl Broker {
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, None)
    }

    /// With a listener for TLS beside the plain one: its certificate and key, in PEM, in one file.
    pub(crate) fn start_with(folder: &Path, identity: Option<&Path>) -> Self {
        // The broker must be told its ports. Freed here, they are taken again a moment later.
        let [port, controller, tls_port] = [(); 3]
            .map(|()| TcpListener::bind("127.0.0.1:0").unwrap())
            .map(|listener| listener.local_addr().unwrap().port());
        let (mut tls_listener, mut tls) = (String::new(), String::new());
        if let Some(identity) = identity {
            tls_listener = format!(",SSL://127.0.0.1:{tls_port}");
            tls = format!("ssl.keystore.type=PEM\nssl.keystore.location={}\n", identity.display());
        }
        let properties = format!(
            "process.roles=broker,controller\nnode.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{tls_listener}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}{tls_listener}\n\
             controller.listener.names=CONTROLLER\n{tls}\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL\n\
             log.dirs={}\nauto.create.topics.enable=false\n\
             offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\nshare.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\ngroup.initial.rebalance.delay.ms=0\n",
            folder.join("log").display()
        );
        fs::write(folder.join("server.properties"), properties).unwrap();
        let mut broker = Self { folder: folder.to_owned(), port, tls_port, process: None };
        let format = ["kafka.tools.StorageTool", "format", "-t", "4L6g3nShT-eMCtK--X86sw", "-c"];
        let formatted = broker.java(&format).status().unwrap();
        assert!(formatted.success(), "{}", broker.said());
        broker.start_again();
        broker
    }

    /// `java`, with the broker's jars and its properties at the end.
    fn java(&self, arguments: &[&str]) -> Command {
        let jars = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.build/kafka");
        assert!(jars.is_dir(), "Kafka is missing: run `make .build/kafka`");
        let said =
            File::options().create(true).append(true).open(self.folder.join("said")).unwrap();
        let mut java = Command::new("java");
        // It lives for seconds: the second compiler would cost more than it gains.
        java.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
            .arg(jars.join("*"))
            .args(arguments)
            .arg(self.folder.join("server.properties"))
            .stdin(Stdio::null())
            .stderr(said.try_clone().unwrap())
            .stdout(said);
        java
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.join("said")).unwrap_or_default()
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn tls_address(&self) -> String {
        format!("127.0.0.1:{}", self.tls_port)
    }

    /// Starts the process on what an earlier one has left, and waits until it answers.
    pub(crate) fn start_again(&mut self) {
        self.process = Some(self.java(&["kafka.Kafka"]).spawn().unwrap());
        let start = Instant::now();
        let reader = self.reader();
        while reader.fetch_metadata(None, Duration::from_millis(500)).is_err() {
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none() && start.elapsed() < PATIENCE, "{ended:?}: {}", self.said());
        }
    }

    /// Ends it at once, in the middle of whatever it does.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// `STOP`: it answers nothing and closes nothing; or `CONT`.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address()).set("group.id", "test");
        config.set("reconnect.backoff.max.ms", "500");
        config
    }

    fn reader(&self) -> BaseConsumer {
        self.config().create().unwrap()
    }

    pub(crate) async fn make_topic(&self, name: &str, options: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> = self.config().create().unwrap();
        let mut topic = NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1));
        for (option, value) in options {
            topic = topic.set(option, value);
        }
        let wait = AdminOptions::new().operation_timeout(Some(PATIENCE));
        admin.create_topics([&topic], &wait).await.unwrap().remove(0).unwrap();
    }

    /// Everything in the topic, partition by partition, each in its order.
    pub(crate) fn read(&self, topic: &str) -> Vec<Read> {
        let reader = self.reader();
        let mut all = Vec::new();
        for partition in 0..PARTITIONS {
            let end = end_of(&reader, topic, partition);
            let mut from = TopicPartitionList::new();
            from.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
            reader.assign(&from).unwrap();
            let (mut next, start) = (0, Instant::now());
            while next < end {
                assert!(start.elapsed() < PATIENCE, "read {next} of {end}");
                let Some(message) = reader.poll(Duration::from_secs(1)) else { continue };
                let message = message.unwrap();
                next = message.offset() + 1;
                let header = message.headers().unwrap().get(0);
                assert_eq!(header.key, "headwater-id");
                let text =
                    |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
                all.push(Read {
                    key: text(message.key()),
                    id: text(header.value),
                    payload: message.payload().unwrap().to_vec(),
                });
            }
        }
        all
    }
}

/// The offset behind the last message. A broker that has just come back leads its partitions a moment after it answers.
fn end_of(reader: &BaseConsumer, topic: &str, partition: i32) -> i64 {
    let start = Instant::now();
    loop {
        match reader.fetch_watermarks(topic, partition, PATIENCE) {
            Ok((_, end)) => return end,
            Err(KafkaError::MetadataFetch(
                RDKafkaErrorCode::NotLeaderForPartition | RDKafkaErrorCode::LeaderNotAvailable,
            )) if start.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(50)),
            Err(error) => panic!("{topic} {partition}: {error}"),
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.kill());
            drop(process.wait());
        }
    }
}
