//! Content encodings: which one a body came in, and its text.
//! Promises that a bomb is cut while it inflates, whatever its kind, and that no window is allocated
//! larger than an honest client needs. Deliberately does not know what the text says.

use std::{
    fmt,
    io::{self, Read},
};

use brotli_decompressor::BrotliDecoderParameter;
use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};

use super::DecodeError;
use crate::limits::MAX_ZSTD_WINDOW_LOG;

/// What a body is compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of HTTP's content codings are their own documentation")]
pub enum Encoding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// How every gzip file starts, and no JSON.
const GZIP_START: [u8; 3] = [0x1f, 0x8b, 0x08];
/// Bytes that the brotli decoder takes from the body at once.
const BROTLI_INPUT: usize = 4096;

impl Encoding {
    /// The encoding that the `Content-Encoding` headers name; `None` is plain text.
    ///
    /// A body that starts as every gzip file does is gzip even when the headers name nothing:
    /// RudderStack's Node client says only that it is a form.
    pub fn of<'h>(
        headers: impl Iterator<Item = &'h [u8]>,
        body: &[u8],
    ) -> Result<Option<Self>, DecodeError> {
        let mut found = None;
        let names = headers.flat_map(|value| value.split(|byte| *byte == b','));
        for name in names.map(<[u8]>::trim_ascii) {
            if name.is_empty() || name.eq_ignore_ascii_case(b"identity") {
                continue;
            }
            let known = Self::named(name).ok_or_else(|| {
                DecodeError::UnknownEncoding(String::from_utf8_lossy(name).into_owned())
            })?;
            if found.replace(known).is_some() {
                return Err(DecodeError::ManyEncodings);
            }
        }
        Ok(found.or_else(|| body.starts_with(&GZIP_START).then_some(Self::Gzip)))
    }

    fn named(name: &[u8]) -> Option<Self> {
        let names: [(&[u8], Self); 5] = [
            (b"gzip", Self::Gzip),
            // The name it had before it was standardised; RFC 9110 8.4.1.3 wants it understood.
            (b"x-gzip", Self::Gzip),
            (b"deflate", Self::Deflate),
            (b"br", Self::Brotli),
            (b"zstd", Self::Zstd),
        ];
        names.iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, found)| *found)
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "brotli",
            Self::Zstd => "zstd",
        })
    }
}

/// Undoes the encoding. `limit` bounds the result while it inflates, so that a bomb costs no more
/// than an honest body.
pub fn inflate(
    body: Bytes,
    encoding: Option<Encoding>,
    limit: usize,
) -> Result<Bytes, DecodeError> {
    if body.len() > limit {
        return Err(DecodeError::BodyTooLarge { limit });
    }
    let Some(encoding) = encoding else { return Ok(body) };
    let text = match encoding {
        Encoding::Gzip => read(flate2::read::MultiGzDecoder::new(&body[..]), &body, limit),
        Encoding::Deflate => deflate(&body, limit),
        Encoding::Brotli => read(brotli(&body), &body, limit),
        Encoding::Zstd => zstd(&body).and_then(|decoder| read(decoder, &body, limit)),
    };
    match text {
        Ok(text) if text.len() > limit => Err(DecodeError::BodyTooLarge { limit }),
        Ok(text) => Ok(text.into()),
        Err(_) => Err(DecodeError::Corrupt(encoding)),
    }
}

/// At most one byte more than the limit: enough to know.
fn read(decoder: impl Read, body: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity((body.len() * 4).min(limit));
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(most).read_to_end(&mut text)?;
    Ok(text)
}

/// RFC 9110 says that `deflate` is zlib, and half of the clients that say it leave zlib's header out.
/// The reader of `flate2` takes the end of the input for the end of the text, so it is not used here.
fn deflate(body: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(limit.saturating_add(1));
    let mut decoder = Decompress::new(has_zlib_header(body));
    let status = decoder.decompress_vec(body, &mut text, FlushDecompress::Finish)?;
    let is_whole = status == Status::StreamEnd || text.len() > limit;
    is_whole.then_some(text).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// RFC 1950 2.2: compression method 8, and both bytes together a multiple of 31.
fn has_zlib_header(body: &[u8]) -> bool {
    matches!(body, [method, flags, ..]
        if method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0)
}

fn brotli(body: &[u8]) -> impl Read {
    let mut decoder = brotli_decompressor::Decompressor::new(body, BROTLI_INPUT);
    // Large windows are no part of HTTP's `br`; eight bytes of it would ask for a gigabyte.
    decoder.set_parameter(BrotliDecoderParameter::BROTLI_DECODER_PARAM_LARGE_WINDOW, 0);
    decoder
}

fn zstd(body: &[u8]) -> io::Result<impl Read> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(body)?;
    decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write};
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 1 << 20;

    fn gzip(text: &[u8]) -> Bytes {
        let mut gz = write::GzEncoder::new(Vec::new(), Compression::fast());
        gz.write_all(text).unwrap();
        gz.finish().unwrap().into()
    }

    fn zlib(text: &[u8]) -> Bytes {
        let mut zlib = write::ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(text).unwrap();
        zlib.finish().unwrap().into()
    }

    fn raw_deflate(text: &[u8]) -> Bytes {
        let mut raw = write::DeflateEncoder::new(Vec::new(), Compression::fast());
        raw.write_all(text).unwrap();
        raw.finish().unwrap().into()
    }

    fn zstd(text: &[u8]) -> Bytes {
        zstd::bulk::compress(text, 3).unwrap().into()
    }

    /// `{"batch":[]}`, 16 MiB of spaces, and `{}` with a window of 1 GiB, as Node's zlib compresses
    /// them: an encoder of our own would be a dependency for three constants.
    const BROTLI: &[u8] = b"\x8b\x05\x80{\"batch\":[]}\x03";
    const BROTLI_BOMB: &[u8] =
        b"\xcb\xff\xff?\xf8%@\xe2\xb1@ \xf7\xfe/\xff\xff\xff\xf0K\0\xc4a\x11\x80\xee\xfd\x1f";
    const BROTLI_LARGE_WINDOW: &[u8] = b"\x11\x1e\x02\0\x02{}\x03";

    fn of(header: &str) -> Result<Option<Encoding>, DecodeError> {
        Encoding::of([header.as_bytes()].into_iter(), b"{}")
    }

    #[test]
    fn the_header_names_one_encoding() {
        for (header, encoding) in [
            ("", None),
            ("identity", None),
            ("gzip", Some(Encoding::Gzip)),
            ("X-GZIP", Some(Encoding::Gzip)),
            ("identity, br ", Some(Encoding::Brotli)),
            ("deflate", Some(Encoding::Deflate)),
            ("Zstd", Some(Encoding::Zstd)),
        ] {
            assert_eq!(of(header), Ok(encoding), "{header}");
        }
        assert_eq!(of("compress"), Err(DecodeError::UnknownEncoding("compress".to_owned())));
        assert_eq!(of("gzip, br"), Err(DecodeError::ManyEncodings));
        let twice = Encoding::of([&b"gzip"[..], b"gzip"].into_iter(), b"");
        assert_eq!(twice, Err(DecodeError::ManyEncodings));
    }

    #[test]
    fn gzip_is_known_by_its_first_bytes_too() {
        let found = Encoding::of(std::iter::empty(), &gzip(b"{}"));
        assert_eq!(found, Ok(Some(Encoding::Gzip)));
        assert_eq!(Encoding::of(std::iter::empty(), b"{}"), Ok(None));
    }

    #[test]
    fn every_encoding_is_undone() {
        let text = br#"{"batch":[]}"#;
        for (body, encoding) in [
            (Bytes::from_static(text), None),
            (gzip(text), Some(Encoding::Gzip)),
            (zlib(text), Some(Encoding::Deflate)),
            (raw_deflate(text), Some(Encoding::Deflate)),
            (zstd(text), Some(Encoding::Zstd)),
            (Bytes::from_static(BROTLI), Some(Encoding::Brotli)),
        ] {
            assert_eq!(inflate(body, encoding, 99).unwrap(), &text[..], "{encoding:?}");
        }
    }

    #[test]
    fn a_body_that_is_not_what_it_says_is_corrupt() {
        for encoding in [Encoding::Gzip, Encoding::Deflate, Encoding::Brotli, Encoding::Zstd] {
            let body = Bytes::from_static(b"{\"batch\":[]}");
            assert_eq!(inflate(body, Some(encoding), LIMIT), Err(DecodeError::Corrupt(encoding)));
        }
        let cut = |body: Bytes| body.slice(..body.len() - 5);
        for (body, encoding) in [(gzip(b"{}"), Encoding::Gzip), (zstd(b"[1,2,3]"), Encoding::Zstd)]
        {
            let error = inflate(cut(body), Some(encoding), 99);
            assert_eq!(error, Err(DecodeError::Corrupt(encoding)));
        }
    }

    #[test]
    fn a_bomb_is_cut_while_it_inflates() {
        let spaces = vec![b' '; 4 * LIMIT];
        for (bomb, encoding) in [
            (gzip(&spaces), Encoding::Gzip),
            (zlib(&spaces), Encoding::Deflate),
            (raw_deflate(&spaces), Encoding::Deflate),
            (zstd(&spaces), Encoding::Zstd),
            (Bytes::from_static(BROTLI_BOMB), Encoding::Brotli),
        ] {
            assert!(bomb.len() < LIMIT);
            let cut = inflate(bomb, Some(encoding), LIMIT);
            assert_eq!(cut, Err(DecodeError::BodyTooLarge { limit: LIMIT }), "{encoding}");
        }
    }

    #[test]
    fn a_window_that_no_client_needs_is_refused() {
        let body = Bytes::from_static(BROTLI_LARGE_WINDOW);
        let error = inflate(body, Some(Encoding::Brotli), LIMIT);
        assert_eq!(error, Err(DecodeError::Corrupt(Encoding::Brotli)));

        let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        zstd.window_log(MAX_ZSTD_WINDOW_LOG + 1).unwrap();
        zstd.write_all(b"{}").unwrap();
        // Unfinished yet written out: the size is not in the header, so that the window has to be.
        zstd.flush().unwrap();
        let body = Bytes::from(zstd.finish().unwrap());
        let error = inflate(body, Some(Encoding::Zstd), LIMIT);
        assert_eq!(error, Err(DecodeError::Corrupt(Encoding::Zstd)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_exceed_its_limit(
            text in prop::collection::vec(any::<u8>(), 0..400),
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            for (body, encoding) in [
                (Bytes::from(text.clone()), Encoding::Brotli),
                (Bytes::from_static(BROTLI), Encoding::Brotli),
                (Bytes::from_static(BROTLI_BOMB), Encoding::Brotli),
                (gzip(&text), Encoding::Gzip),
                (zlib(&text), Encoding::Deflate),
                (raw_deflate(&text), Encoding::Deflate),
                (zstd(&text), Encoding::Zstd),
            ] {
                let mut body = body.to_vec();
                for (index, byte) in &flips {
                    if !body.is_empty() {
                        let at = index.index(body.len());
                        body[at] ^= byte;
                    }
                }
                if let Ok(text) = inflate(body.into(), Some(encoding), 500) {
                    prop_assert!(text.len() <= 500);
                }
            }
        }
    }
}
