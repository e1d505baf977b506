//! What a device is, read from how its browser calls itself.
//! Promises that nothing of it is stored: a better reader reads old profiles better. Deliberately believes what it is told; who
//! hides behind another's name is not found out here.

use std::sync::LazyLock;

use serde::Serialize;
use woothee::parser::Parser;

/// A browser and what it runs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Device {
    /// `desktop`, `phone`, `bot` or `other`.
    pub kind: &'static str,
    /// `Firefox`, `Googlebot`; absent if it is none that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub browser: Option<String>,
    /// As the browser writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `Windows 10`, `Android`; absent if it is none that is known. Browsers say `Windows 10` on later ones, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
}

/// Longest text that is looked at: browsers' own have 100 to 250 bytes.
const MAX_BYTES: usize = 1024;
/// What drives browsers for tests, previews and scraping; the rest is known by their own names.
const AUTOMATED: [&str; 3] = ["HeadlessChrome", "PhantomJS", "Lighthouse"];

/// Its patterns are made ready once.
static PARSER: LazyLock<Parser> = LazyLock::new(Parser::new);

impl Device {
    /// Of a `User-Agent`; nothing if there is nothing in it that is known.
    pub(super) fn of(user_agent: &str) -> Option<Self> {
        if user_agent.len() > MAX_BYTES {
            return None;
        }
        let automated = AUTOMATED.iter().any(|word| user_agent.contains(word));
        let read = PARSER.parse(user_agent);
        let said = |text: &str| {
            let known = !text.is_empty() && text != "UNKNOWN" && text != "misc crawler";
            known.then(|| text.to_owned())
        };
        let Some(read) = read else {
            return automated.then_some(Self {
                kind: "bot",
                browser: None,
                version: None,
                os: None,
            });
        };
        let kind = match read.category {
            _ if automated => "bot",
            "crawler" => "bot",
            "pc" => "desktop",
            "smartphone" | "mobilephone" => "phone",
            _ => "other",
        };
        Some(Self {
            kind,
            browser: said(read.name),
            version: said(read.version),
            os: said(read.os),
        })
    }

    /// Whether nobody sits in front of it.
    pub fn is_bot(&self) -> bool {
        self.kind == "bot"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_agent_is_read() {
        const MAC: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15";
        const EDGE: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0";
        const ANDROID: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36";
        const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1";
        const LINUX: &str =
            "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0";
        const GOOGLE: &str =
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
        const HEADLESS: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/131.0.0.0 Safari/537.36";
        const SOME_BOT: &str = "ExampleSpider/1.0 (+https://spider.example/)";
        for (text, kind, browser, version, os) in [
            (MAC, "desktop", Some("Safari"), Some("18.1"), Some("Mac OSX")),
            (EDGE, "desktop", Some("Edge"), Some("131.0.0.0"), Some("Windows 10")),
            (ANDROID, "phone", Some("Chrome"), Some("131.0.0.0"), Some("Android")),
            (IPHONE, "phone", Some("Safari"), Some("18.1"), Some("iPhone")),
            (LINUX, "desktop", Some("Firefox"), Some("132.0"), Some("Linux")),
            (GOOGLE, "bot", Some("Googlebot"), None, None),
            (HEADLESS, "bot", Some("Chrome"), Some("131.0.0.0"), Some("Linux")),
            (SOME_BOT, "bot", None, None, None),
        ] {
            let device = Device::of(text).unwrap();
            let read = (
                device.kind,
                device.browser.as_deref(),
                device.version.as_deref(),
                device.os.as_deref(),
            );
            assert_eq!(read, (kind, browser, version, os), "{text}");
            assert_eq!(device.is_bot(), kind == "bot");
        }
        assert_eq!(Device::of("something"), None);
        assert_eq!(Device::of(&"Firefox/1 ".repeat(200)), None);
    }
}
