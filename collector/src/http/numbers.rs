//! What a device asks when it does not know whether something arrived: a page that left, and never saw the answer.
//! Promises that only what is on disk is said to have arrived, and that an answer tells nothing of any event. Deliberately
//! knows no device: who can name a queue, whose identity is random, is the one that made it.

use hyper::header::{self, HeaderValue};
use serde_json::json;

use super::answer::{Answer, ok};
use crate::event_log::Numbers;

/// The write key and the queue in `/v1/projects/KEY/queues/QUEUE`.
pub(super) fn asked_in(path: &str) -> Option<(&str, &str)> {
    let (key, queue) = path.strip_prefix("/v1/projects/")?.split_once("/queues/")?;
    let one = |part: &str| !part.is_empty() && !part.contains('/');
    (one(key) && one(queue)).then_some((key, queue))
}

/// What is known of a queue.
pub(super) fn answer(numbers: &Numbers) -> Answer {
    let body = json!({ "through": numbers.through, "missing": numbers.missing }).to_string();
    let mut answer = ok("application/json", body);
    // A moment later it is another one.
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_and_queue_are_one_part_of_the_path_each() {
        assert_eq!(asked_in("/v1/projects/k/queues/q"), Some(("k", "q")));
        for other in
            ["/v1/projects//queues/q", "/v1/projects/k/queues/", "/v1/projects/k/queues/q/r"]
        {
            assert_eq!(asked_in(other), None);
        }
    }
}
