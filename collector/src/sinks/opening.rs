//! A destination that may not be there yet: a folder on a disk that is full, or not mounted.
//! Promises that such a consumer waits, as one whose destination fails, and keeps neither the server nor another consumer from
//! starting. Deliberately does not wait for what no time mends: a configuration that cannot work is an error at the start.

use std::sync::OnceLock;

use super::{AnySink, Parcel, Sink, SinkConfig, SinkError, Verdict};

/// A sink, opened now or when it is first needed after it could be.
#[derive(Debug)]
pub struct Opening {
    config: SinkConfig,
    opened: OnceLock<AnySink>,
    /// Why it was not opened at the start.
    trouble: Option<String>,
}

impl Opening {
    /// Opens it, or leaves that for later if it may work then.
    pub fn open(config: SinkConfig) -> Result<Self, SinkError> {
        let (opened, mut trouble) = (OnceLock::new(), None);
        match AnySink::open(config.clone()) {
            Ok(sink) => drop(opened.set(sink)),
            // The consumer says so, and goes on trying.
            Err(error) if may_pass(&error) => trouble = Some(error.to_string()),
            Err(error) => return Err(error),
        }
        Ok(Self { config, opened, trouble })
    }
}

fn may_pass(error: &SinkError) -> bool {
    matches!(error, SinkError::Files(_))
}

impl Sink for Opening {
    fn most_at_once(&self) -> usize {
        self.opened.get().map_or(1, Sink::most_at_once)
    }

    fn most_in_flight(&self) -> usize {
        self.opened.get().map_or(1, Sink::most_in_flight)
    }

    fn unusable(&self) -> Option<String> {
        self.trouble.clone().filter(|_| self.opened.get().is_none())
    }

    async fn make_ready(&self) -> Verdict {
        if self.opened.get().is_none() {
            let config = self.config.clone();
            match tokio::task::spawn_blocking(|| AnySink::open(config)).await {
                // One at a time is in flight until it is open, so nobody else has opened it meanwhile.
                Ok(Ok(sink)) => drop(self.opened.set(sink)),
                Ok(Err(error)) => return Verdict::unavailable(error.to_string()),
                Err(panic) => return Verdict::unavailable(panic.to_string()),
            }
        }
        Verdict::Delivered
    }

    async fn deliver(&self, parcels: &[Parcel]) -> Verdict {
        let ready = self.make_ready().await;
        match self.opened.get() {
            None if ready != Verdict::Delivered => ready,
            Some(sink) => sink.deliver(parcels).await,
            None => Verdict::unavailable("it is not open"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    #[tokio::test]
    async fn a_folder_that_is_not_there_yet_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let mount = folder.path().join("mount");
        std::fs::write(&mount, "not a folder").unwrap();
        let path = mount.join("lines");
        let text = format!("[consumers.x]\nkind = 'file'\npath = '{}'", path.display());
        let config = Config::parse(&text, Path::new("test.toml")).unwrap();
        let config = config.consumers.into_values().next().unwrap().sink.unwrap();
        let sink = Opening::open(config).unwrap();
        assert!(sink.unusable().unwrap().contains("lines"), "{:?}", sink.unusable());
        let parcel = Parcel { id: "1".into(), order_key: "a".into(), line: "{}".into() };
        for _ in 0..2 {
            let verdict = sink.deliver(std::slice::from_ref(&parcel)).await;
            assert!(matches!(verdict, Verdict::Unavailable { .. }), "{verdict:?}");
        }
        std::fs::remove_file(&mount).unwrap();
        assert_eq!(sink.deliver(&[parcel]).await, Verdict::Delivered);
        assert!(sink.most_at_once() > 1 && sink.unusable().is_none());
    }
}
