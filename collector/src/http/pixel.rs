//! An event in an image's address: `GET /v1/pixel/track?data=BASE64`, for mails and pages without scripts.
//! Promises that whatever becomes of the event an image is answered, since a person may be looking at it;
//! the status says the rest. Deliberately does not look at the event.

use base64::{
    Engine as _,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use hyper::{StatusCode, header};

use super::answer::{Answer, Failure, ok, set};

/// A transparent pixel: GIF89a, 1×1, its one colour transparent.
const GIF: &[u8] = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

/// With and without the padding, which Segment's documentation lets clients leave out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The event's JSON out of the query's `data`.
pub(super) fn event(query: Option<&str>) -> Result<Bytes, Failure> {
    let mut pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let data = pairs.find(|(name, _)| *name == "data").map(|(_, data)| data);
    data.and_then(decoded).map(Bytes::from).ok_or_else(|| {
        let message = "`data` is the event's JSON in base64, with its `writeKey`";
        Failure::new(StatusCode::BAD_REQUEST, "invalid_parameter", message)
    })
}

/// The image, with the status of what it stands for. Never from a cache: each view is an event.
pub(super) fn image(taken: Result<(), Failure>) -> Answer {
    let status = taken.map_or_else(|failure| failure.status(), |()| StatusCode::OK);
    let mut answer = ok("image/gif", GIF);
    *answer.status_mut() = status;
    set(answer.headers_mut(), header::CACHE_CONTROL, "no-store");
    answer
}

/// Base64 of either alphabet, percent-encoded or not: `+` and `/` come in all of these forms, and `+`
/// also as the space that a form's encoding makes of it.
fn decoded(data: &str) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(data.len());
    let mut bytes = data.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let [high, low] =
                    [bytes.next()?, bytes.next()?].map(|b| char::from(b).to_digit(16));
                u8::try_from(high? * 16 + low?).ok()?
            }
            byte => byte,
        };
        text.push(match byte {
            b'+' | b' ' => b'-',
            b'/' => b'_',
            byte => byte,
        });
    }
    BASE64.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_comes_in_every_form_of_base64() {
        // {"a":"?~>"} has both of the characters that differ.
        for data in
            ["eyJhIjoiP34+In0=", "eyJhIjoiP34-In0", "eyJhIjoiP34%2BIn0%3d", "eyJhIjoiP34 In0="]
        {
            let event = event(Some(&format!("x=1&data={data}"))).unwrap();
            assert_eq!(event, r#"{"a":"?~>"}"#, "{data}");
        }
        for query in
            [None, Some(""), Some("data"), Some("data=%"), Some("data=%zz"), Some("data=!")]
        {
            event(query).unwrap_err();
        }
    }

    #[test]
    fn a_failure_is_an_image_too() {
        let answer = image(Err(event(None).unwrap_err()));
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        assert_eq!(answer.headers()["content-type"], "image/gif");
        assert_eq!(answer.headers()["cache-control"], "no-store");
    }
}
