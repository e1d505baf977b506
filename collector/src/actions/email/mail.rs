//! A message as a mail: who it is from and to, its headers and its parts.
//! Promises the same `Message-ID` at every attempt, and that nothing that was filled in becomes a header. Deliberately knows no server.

use lettre::{
    Address, Message as Letter,
    address::Envelope,
    message::{
        Mailbox, MultiPart, SinglePart,
        header::{Header, HeaderName, HeaderValue},
    },
};

use super::super::{Message, template::Line};
use crate::sinks::message_id;

/// Who mail is from, and how it is ended.
#[derive(Debug)]
pub(super) struct Mail {
    pub(super) from: Mailbox,
    pub(super) reply_to: Option<Mailbox>,
    pub(super) unsubscribe: Option<Line>,
}

/// Ready to be handed over.
#[derive(Debug)]
pub(super) struct Ready {
    /// As in its header `Message-ID`.
    pub(super) id: String,
    pub(super) envelope: Envelope,
    pub(super) bytes: Vec<u8>,
}

impl Mail {
    /// An error says why there is no such mail, without its address.
    pub(super) fn write(&self, message: &Message) -> Result<Ready, String> {
        let to: Address = message
            .to
            .as_deref()
            .and_then(|to| to.trim().parse().ok())
            .ok_or("there is no e-mail address to send to")?;
        let rendered = &message.rendered;
        let subject = rendered.subject.as_deref().filter(|subject| !subject.is_empty());
        let subject = subject.ok_or(
            "there is no subject: begin the template with `+++`, a line `subject = \"…\"`, and `+++`",
        )?;
        let id = format!("<{}@{}>", message_id([&*message.key]), self.from.email.domain());
        let mut letter = Letter::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to.clone()))
            .subject(subject)
            .message_id(Some(id.clone()))
            // RFC 3834: so that nobody's holiday answers it.
            .header(Plain::<0>("auto-generated".to_owned()));
        if let Some(reply_to) = &self.reply_to {
            letter = letter.reply_to(reply_to.clone());
        }
        if let Some(unsubscribe) = &self.unsubscribe {
            let link = unsubscribe.render(&message.context).map_err(|error| error.to_string())?;
            if !is_link(&link) {
                return Err("`unsubscribe` becomes no link: ASCII without spaces, `<` and `>`, not too long".to_owned());
            }
            let one_click = link.starts_with("https://");
            letter = letter.header(Plain::<1>(format!("<{link}>")));
            if one_click {
                letter = letter.header(Plain::<2>("List-Unsubscribe=One-Click".to_owned()));
            }
        }
        let letter = match (&rendered.html, &rendered.text) {
            (Some(html), Some(text)) => {
                letter.multipart(MultiPart::alternative_plain_html(text.clone(), html.clone()))
            }
            (Some(html), None) => letter.singlepart(SinglePart::html(html.clone())),
            (None, Some(text)) => letter.singlepart(SinglePart::plain(text.clone())),
            (None, None) => {
                return Err(
                    "there is nothing to send: a mail is made of a template NAME.html or NAME.txt"
                        .to_owned(),
                );
            }
        };
        // Its own words may have the address in them.
        let letter = letter.map_err(|_| "no mail can be made of it")?;
        let envelope = Envelope::new(Some(self.from.email.clone()), vec![to]);
        let envelope = envelope.map_err(|_| "no mail can be made of it")?;
        Ok(Ready { id, envelope, bytes: letter.formatted() })
    }
}

/// Whether it can stand between `<` and `>` in a header, whose lines end at 998 bytes (RFC 5322).
fn is_link(link: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'<' && byte != b'>';
    link.len() <= 900 && link.bytes().all(plain)
}

/// A header that lettre has no type for; the number says which.
#[derive(Clone)]
struct Plain<const WHICH: usize>(String);

const NAMES: [HeaderName; 3] = [
    HeaderName::new_from_ascii_str("Auto-Submitted"),
    HeaderName::new_from_ascii_str("List-Unsubscribe"),
    HeaderName::new_from_ascii_str("List-Unsubscribe-Post"),
];

impl<const WHICH: usize> Header for Plain<WHICH> {
    fn name() -> HeaderName {
        NAMES[WHICH].clone()
    }

    fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self(text.to_owned()))
    }

    fn display(&self) -> HeaderValue {
        // As it is: a link that is folded or encoded (RFC 2047) is a link no more.
        HeaderValue::dangerous_new_pre_encoded(Self::name(), self.0.clone(), self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::actions::Rendered;

    fn mail(unsubscribe: &str) -> Mail {
        Mail {
            from: "Größe <hello@shop.example>".parse().unwrap(),
            reply_to: Some("help@shop.example".parse().unwrap()),
            unsubscribe: Some(Line::read(unsubscribe).unwrap()),
        }
    }

    fn message(to: &str, rendered: Rendered) -> Message {
        let context = json!({"person": {"id": "a\r\nBcc: x@y.example, é"}});
        Message { key: "k-1".into(), rule: "r".into(), to: Some(to.into()), rendered, context }
    }

    fn rendered(subject: &str) -> Rendered {
        let (html, text) = (Some("<p>Grüße</p>".to_owned()), Some("Grüße".to_owned()));
        Rendered { subject: Some(subject.to_owned()), html, text, ..Rendered::default() }
    }

    #[test]
    fn a_mail_has_both_parts_and_one_click_to_end_it() {
        let mail = mail("https://h/u?p={{ person.id }}");
        let write = || mail.write(&message("ann@b.example", rendered("Grüße & <more>"))).unwrap();
        let ready = write();
        let text = String::from_utf8(ready.bytes).unwrap();
        let (headers, body) = text.split_once("\r\n\r\n").unwrap();
        for line in [
            "Reply-To: help@shop.example",
            "To: ann@b.example",
            "Auto-Submitted: auto-generated",
            "List-Unsubscribe: <https://h/u?p=a%0D%0ABcc%3A%20x%40y.example%2C%20%C3%A9>",
            "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
            "MIME-Version: 1.0",
        ] {
            assert!(headers.lines().any(|header| header == line), "{line} in {headers}");
        }
        assert!(headers.contains(&format!("Message-ID: {}", ready.id)), "{headers}");
        assert!(ready.id.ends_with("@shop.example>") && ready.id == write().id, "{}", ready.id);
        assert!(
            headers.contains("multipart/alternative") && !headers.contains("\nBcc"),
            "{headers}"
        );
        let plain = body.find("text/plain").unwrap();
        assert!(plain < body.find("text/html").unwrap(), "the richest is last (RFC 2046)");
    }

    #[test]
    fn no_name_becomes_a_header_or_the_end_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let text = "+++\nsubject = \"For {{ person.name }}, today\"\n+++\nHello\n";
        std::fs::write(folder.path().join("a.txt"), text).unwrap();
        let templates = crate::actions::Templates::read(folder.path()).unwrap();
        let mail = mail("https://h/u?p={{ person.id }}");
        for end in ["\r\n", "\n", "\r", "\u{85}", "\u{2028}", "\u{b}", "\u{c}", "\0"] {
            let name = format!("Ann{end}Bcc: x@y.example{end}{end}Not the body");
            let context = json!({"person": {"id": name, "name": name}});
            let filled_in = templates.render("a", &context).unwrap();
            // And as it would be without the template's own care.
            let as_it_is = Rendered { subject: Some(name.clone()), ..filled_in.clone() };
            for rendered in [filled_in, as_it_is] {
                let message =
                    Message { context: context.clone(), ..message("ann@b.example", rendered) };
                let bytes = mail.write(&message).unwrap().bytes;
                let text = String::from_utf8(bytes).unwrap();
                let (headers, body) = text.split_once("\r\n\r\n").unwrap();
                let names: Vec<_> = headers
                    .split("\r\n")
                    .filter(|line| !line.starts_with([' ', '\t']))
                    .map(|line| line.split(':').next().unwrap())
                    .collect();
                assert_eq!(names, NAMED, "{end:?}: {headers}");
                let lone = headers.replace("\r\n", "");
                assert!(!lone.contains(['\r', '\n', '\0']), "{end:?}: {headers:?}");
                assert_eq!(body.trim_end(), "Hello", "{end:?}");
            }
        }
    }

    /// All that there are in a mail of text alone.
    const NAMED: [&str; 12] = [
        "From",
        "To",
        "Subject",
        "Message-ID",
        "Auto-Submitted",
        "Reply-To",
        "List-Unsubscribe",
        "List-Unsubscribe-Post",
        "MIME-Version",
        "Date",
        "Content-Type",
        "Content-Transfer-Encoding",
    ];

    #[test]
    fn what_cannot_be_a_mail_is_refused_without_saying_whose_it_is() {
        let mail = mail("mailto:off@shop.example?subject={{ person.id }}");
        let ready = mail.write(&message("ann@b.example", rendered("x"))).unwrap();
        let text = String::from_utf8(ready.bytes).unwrap();
        assert!(
            text.contains("List-Unsubscribe: <mailto:off@") && !text.contains("One-Click"),
            "{text}"
        );
        let bare = Rendered { subject: Some("x".into()), ..Rendered::default() };
        for (to, rendered, part) in [
            ("ann", rendered("x"), "no e-mail address"),
            ("ann@b.example\r\nRCPT TO:<x@y.example>", rendered("x"), "no e-mail address"),
            ("", rendered("x"), "no e-mail address"),
            ("ann@b.example", rendered(""), "no subject"),
            ("ann@b.example", bare, "nothing to send"),
        ] {
            let reason = mail.write(&message(to, rendered)).unwrap_err();
            assert!(reason.contains(part) && !reason.contains("ann"), "{reason}");
        }
        for no_link in [
            "https://h/é",
            "https://h/a b",
            "https://h/>, <x",
            &format!("https://h/{}", "a".repeat(900)),
        ] {
            let mail = self::mail(no_link);
            let reason = mail.write(&message("ann@b.example", rendered("x"))).unwrap_err();
            assert!(reason.starts_with("`unsubscribe` becomes no link"), "{reason}");
        }
        let nobody = Message { context: json!({}), ..message("ann@b.example", rendered("x")) };
        assert!(mail.write(&nobody).unwrap_err().contains("`person.id` has no value"));
    }
}
