//! What the load is made of: requests of realistic shop events of about 525 bytes, built once, and the few bytes in them that
//! are written anew for every sending.
//! Promises that no message id is ever sent twice, that each device numbers its events without a gap, and that an id read
//! back tells whose it was. Knows nothing of sockets and servers.

/// Devices of one connection, taking turns: a collector's traffic is many devices with a few events each.
const DEVICES: usize = 64;
/// Different requests of one connection, taking turns, so that nothing compresses or predicts better than it would in life.
const REQUESTS: usize = 4;
/// Columns of the sequence number: JSON lets blanks stand before it, so that its place never moves.
const SEQ_LEN: usize = 8;
const UUID_LEN: usize = 36;

/// How the events are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Twenty in a batch, as a browser sends them after some clicks.
    Batches,
    /// Each in a request of its own.
    Single,
}

impl Shape {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Batches => "batches of 20",
            Self::Single => "single",
        }
    }

    pub(crate) fn events(self) -> u64 {
        match self {
            Self::Batches => 20,
            Self::Single => 1,
        }
    }
}

/// An event in a request: how long it is, and where it has what differs from one sending to the next.
struct Event {
    bytes: usize,
    message_id: usize,
    anonymous_id: usize,
    queue: usize,
    seq: usize,
}

struct Request {
    bytes: Vec<u8>,
    events: Vec<Event>,
}

struct Device {
    anonymous_id: [u8; UUID_LEN],
    queue: [u8; 22],
    next_seq: u64,
}

/// All that one connection sends.
pub(crate) struct Requests {
    connection: u64,
    /// In milliseconds since 1970: the front of the message ids, as uuid v7 has it.
    now_ms: u64,
    requests: Vec<Request>,
    devices: Vec<Device>,
    turn: usize,
    /// Events made so far: the end of the message ids.
    made: u64,
}

impl Requests {
    pub(crate) fn new(connection: u64, shape: Shape, write_key: &str, now_ms: u64) -> Self {
        let mut dice = Dice(connection << 32 | 0x9e37_79b9);
        let requests = (0..REQUESTS).map(|_| Request::new(shape, write_key, &mut dice)).collect();
        let devices = (0..DEVICES).map(|_| Device::new(&mut dice)).collect();
        Self { connection, now_ms, requests, devices, turn: 0, made: 0 }
    }

    /// The next request: its bytes, head and body.
    pub(crate) fn next(&mut self) -> &[u8] {
        self.turn += 1;
        let device = &mut self.devices[self.turn % DEVICES];
        let request = &mut self.requests[self.turn % REQUESTS];
        for event in &request.events {
            let message_id = message_id(self.now_ms, self.connection, self.made);
            self.made += 1;
            put(&mut request.bytes, event.message_id, &message_id);
            put(&mut request.bytes, event.anonymous_id, &device.anonymous_id);
            put(&mut request.bytes, event.queue, &device.queue);
            let mut seq = [b' '; SEQ_LEN];
            put_number(&mut seq, device.next_seq);
            put(&mut request.bytes, event.seq, &seq);
            device.next_seq += 1;
        }
        &request.bytes
    }

    pub(crate) fn connection(&self) -> u64 {
        self.connection
    }

    /// How many bytes each of the events has.
    pub(crate) fn event_bytes(&self) -> impl Iterator<Item = usize> {
        self.requests.iter().flat_map(|request| &request.events).map(|event| event.bytes)
    }
}

/// Whose a message id is: the connection, and which of its events.
pub(crate) fn read_message_id(id: &[u8]) -> Option<(usize, usize)> {
    let hex =
        |from, to| usize::from_str_radix(std::str::from_utf8(id.get(from..to)?).ok()?, 16).ok();
    Some((hex(20, 23)?, hex(24, UUID_LEN)?))
}

/// A uuid v7, its random bits replaced by whose it is. The lowest bits of the connection's field are spread, as random ones are.
fn message_id(now_ms: u64, connection: u64, event: u64) -> [u8; UUID_LEN] {
    // One more millisecond for every 64 events, so that ids grow with time as those of real clients do.
    let at = now_ms + event / 64;
    let spread = event.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52;
    let mut id = [b'-'; UUID_LEN];
    put_hex(&mut id[..8], at >> 16);
    put_hex(&mut id[9..13], at);
    put_hex(&mut id[14..18], 0x7000 | spread);
    put_hex(&mut id[19..23], 0x8000 | connection);
    put_hex(&mut id[24..], event);
    id
}

impl Request {
    fn new(shape: Shape, write_key: &str, dice: &mut Dice) -> Self {
        let mut body = Vec::new();
        let mut events = Vec::new();
        let path = match shape {
            Shape::Batches => {
                body.extend_from_slice(b"{\"batch\":[");
                for n in 0..shape.events() {
                    if n > 0 {
                        body.push(b',');
                    }
                    events.push(Event::write(&mut body, "", dice));
                }
                let end = format!(
                    "],\"sentAt\":\"2026-11-22T00:00:01.000Z\",\"writeKey\":\"{write_key}\"}}"
                );
                body.extend_from_slice(end.as_bytes());
                "/v1/batch?receipt=1"
            }
            Shape::Single => {
                let envelope = format!(
                    "\"sentAt\":\"2026-11-22T00:00:01.000Z\",\"writeKey\":\"{write_key}\","
                );
                events.push(Event::write(&mut body, &envelope, dice));
                "/v1/track?receipt=1"
            }
        };
        let mut bytes = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain;charset=UTF-8\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        let head = bytes.len();
        for event in &mut events {
            for place in
                [&mut event.message_id, &mut event.anonymous_id, &mut event.queue, &mut event.seq]
            {
                *place += head;
            }
        }
        bytes.extend_from_slice(&body);
        Self { bytes, events }
    }
}

impl Event {
    /// Writes an event as the browser SDK does, with blanks where each sending writes its own.
    fn write(out: &mut Vec<u8>, envelope: &str, dice: &mut Dice) -> Self {
        let begin = out.len() + envelope.len();
        let blank = |out: &mut Vec<u8>, before: &str, len: usize| {
            out.extend_from_slice(before.as_bytes());
            out.resize(out.len() + len, b' ');
            out.len() - len
        };
        let name =
            dice.pick(&["Product Viewed", "Product Added", "Product Clicked", "Product Removed"]);
        let front = format!("{{\"type\":\"track\",\"event\":\"{name}\",{envelope}\"messageId\":\"");
        let message_id = blank(out, &front, UUID_LEN);
        let anonymous_id = blank(out, "\",\"anonymousId\":\"", UUID_LEN);

        let (brand, noun) = (dice.pick(&BRANDS), dice.pick(&NOUNS));
        let (number, cents, ms) = (dice.below(900_000), dice.below(9_000), dice.below(1000));
        let slug = format!("{}-{}", brand.to_lowercase(), noun.to_lowercase().replace(' ', "-"));
        let properties = format!(
            "{{\"product_id\":\"p-{number:06}\",\"name\":\"{brand} {noun}\",\"category\":\"{}\",\
             \"price\":{}.{:02}}}",
            dice.pick(&["Kitchen", "Garden", "Office", "Outdoor", "Books"]),
            5 + cents / 100,
            cents % 100,
        );
        let middle = format!(
            "\",\"timestamp\":\"2026-11-22T00:00:00.{ms:03}Z\",\"properties\":{properties},\
             \"context\":{{\"library\":{{\"name\":\"headwater.js\",\"version\":\"0.1.0\"}},\
             \"page\":{{\"path\":\"/products/{slug}\",\"title\":\"{brand} {noun}\"}},\
             \"locale\":\"{}\",\"sessionId\":17637696{:05},\"headwater\":{{\"queue\":\"",
            dice.pick(&["en-GB", "de-DE", "fr-FR", "es-ES", "nl-NL"]),
            dice.below(100_000),
        );
        let queue = blank(out, &middle, 22);
        let seq = blank(out, "\",\"seq\":", SEQ_LEN);
        out.extend_from_slice(b"}}}");
        Self { bytes: out.len() - begin, message_id, anonymous_id, queue, seq }
    }
}

const BRANDS: [&str; 12] = [
    "Aldern",
    "Brightwater",
    "Corvane",
    "Dunmore",
    "Eskdale",
    "Fernhill",
    "Gresham",
    "Holmfirth",
    "Inverlea",
    "Juniper",
    "Kestrel",
    "Lowther",
];
const NOUNS: [&str; 12] = [
    "Kettle",
    "Bread Knife",
    "Desk Lamp",
    "Rain Jacket",
    "Notebook",
    "Watering Can",
    "Chair",
    "Cast Iron Pan",
    "Backpack",
    "Field Guide",
    "Wool Blanket",
    "Pocket Torch",
];

impl Device {
    fn new(dice: &mut Dice) -> Self {
        let mut anonymous_id = [b'-'; UUID_LEN];
        put_hex(&mut anonymous_id[..8], dice.next());
        put_hex(&mut anonymous_id[9..13], dice.next());
        put_hex(&mut anonymous_id[14..18], 0x4000 | dice.below(0x1000));
        put_hex(&mut anonymous_id[19..23], 0x8000 | dice.below(0x1000));
        put_hex(&mut anonymous_id[24..], dice.next());
        let mut queue = [b'A'; 22];
        put_hex(&mut queue[..16], dice.next());
        put_hex(&mut queue[16..], dice.next());
        Self { anonymous_id, queue, next_seq: 1 }
    }
}

/// Repeatable numbers that look random: splitmix64.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        let at = self.below(from.len() as u64);
        usize::try_from(at).ok().and_then(|at| from.get(at)).copied().unwrap_or_default()
    }
}

fn put(bytes: &mut [u8], at: usize, text: &[u8]) {
    bytes[at..at + text.len()].copy_from_slice(text);
}

/// Right-aligned decimal.
fn put_number(place: &mut [u8], mut number: u64) {
    for byte in place.iter_mut().rev() {
        *byte = b"0123456789"[usize::from(u8::try_from(number % 10).unwrap_or(0))];
        number /= 10;
        if number == 0 {
            return;
        }
    }
}

/// As many hex digits as there is place for, the lowest ones.
fn put_hex(place: &mut [u8], mut number: u64) {
    for byte in place.iter_mut().rev() {
        *byte = b"0123456789abcdef"[usize::from(u8::try_from(number & 15).unwrap_or(0))];
        number >>= 4;
    }
}
