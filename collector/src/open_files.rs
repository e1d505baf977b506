//! How many files the system lets this process open, and so how many connections there can be.
//! Promises to raise the limit as far as the system allows, and that connections leave room for the log's files.
//! Deliberately opens none.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::{FILES_BESIDE_CONNECTIONS, MAX_CONNECTIONS};

/// The connections that fit, at most [`MAX_CONNECTIONS`]; fewer are explained in the log.
pub fn room_for_connections() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Where it cannot be raised, what there is has to do.
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let files = if raised { maximum } else { current };
    let fit = connections_within(files);
    if fit < MAX_CONNECTIONS {
        tracing::warn!(
            files,
            connections = fit,
            "the system allows few open files; for {MAX_CONNECTIONS} connections raise the limit, as with \
             `ulimit -n 65536` or systemd's `LimitNOFILE=65536`"
        );
    }
    fit
}

/// `None` is no limit.
fn connections_within(files: Option<u64>) -> usize {
    let Some(files) = files else { return MAX_CONNECTIONS };
    // Of very few files, half: a server that takes some is better than one that takes none.
    let room = files.saturating_sub(FILES_BESIDE_CONNECTIONS).max(files / 2).max(1);
    usize::try_from(room).map_or(MAX_CONNECTIONS, |room| room.min(MAX_CONNECTIONS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_the_log() {
        for (files, connections) in [
            (None, MAX_CONNECTIONS),
            (Some(1 << 20), MAX_CONNECTIONS),
            (Some(1024), 768),
            (Some(300), 150),
            (Some(0), 1),
        ] {
            assert_eq!(connections_within(files), connections);
        }
    }
}
