//! What the life of an app says about its user: installed, updated, opened. Promises that an install and an update are said once. Knows
//! nothing of the operating system: the host tells what happened.

use headwater_core::{
    event::{Json, Kind},
    platform::Priority,
};
use serde_json::{Map, Value};

use crate::{
    Error,
    driver::{Driver, Said},
};

/// The app was opened in this version.
pub(crate) fn opened(
    driver: &Driver,
    version: &str,
    build: &str,
    properties: Option<String>,
) -> Result<(), Error> {
    let invalid = |detail: String| Error::InvalidJson { detail };
    let given: Map<String, Value> = match properties {
        Some(text) => serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?,
        None => Map::new(),
    };
    let before = driver.identity()?.app;
    let now = format!("{version} ({build})");
    let with = |name: &str, mut properties: Map<String, Value>| {
        properties.insert("version".into(), version.into());
        properties.insert("build".into(), build.into());
        let text = Value::Object(properties).to_string();
        Ok::<_, Error>(Said {
            kind: Kind::Track { event: name.to_owned() },
            fields: Some(Json::object(text).map_err(|error| invalid(error.to_string()))?),
            context: None,
            at_ms: None,
            category: 0,
            priority: Priority::Normal,
        })
    };
    match before {
        None => {
            driver.record_with(with("Application Installed", Map::new())?, |known| {
                known.app = Some(now.clone());
            })?;
        }
        Some(before) if before != now => {
            let (version, build) = before.split_once(" (").unwrap_or((&before, ""));
            let previous = Map::from_iter([
                ("previous_version".into(), version.into()),
                ("previous_build".into(), build.trim_end_matches(')').into()),
            ]);
            driver.record_with(with("Application Updated", previous)?, |known| {
                known.app = Some(now.clone());
            })?;
        }
        Some(_) => {}
    }
    driver.record(with("Application Opened", given)?)?;
    Ok(())
}
