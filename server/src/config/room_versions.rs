//! `[room_versions]`: the versions of new rooms. Client-Server API, "`m.room_versions` capability".

use matriarch_rules::room_version::ALL;
use serde::{Deserialize, Deserializer, Serialize};

use super::error::ConfigError;

/// Which versions new rooms, and rooms that replace upgraded ones, may have.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoomVersions {
    /// The version of a room whose creator asks for none. Default: 12.
    pub default: Version,
    /// The versions that users may create. Default: all. Rooms of other versions can still be joined.
    pub available: Vec<Version>,
}

/// The identifier of a room version. A whole number stands for its digits, since an environment variable of
/// digits is read as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Version(String);

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Given {
            Text(String),
            Number(u64),
        }
        Ok(Self(match Given::deserialize(deserializer)? {
            Given::Text(text) => text,
            Given::Number(number) => number.to_string(),
        }))
    }
}

impl Default for RoomVersions {
    fn default() -> Self {
        let available = ALL.iter().map(|version| Version(version.id.to_owned())).collect();
        Self { default: Version("12".to_owned()), available }
    }
}

impl RoomVersions {
    /// The identifier of the default version.
    pub fn default_version(&self) -> &str {
        &self.default.0
    }

    /// The identifiers of the versions that users may create.
    pub fn available(&self) -> Vec<&str> {
        self.available.iter().map(|version| version.0.as_str()).collect()
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        for (index, Version(id)) in self.available.iter().enumerate() {
            if matriarch_rules::room_version(id).is_none() {
                let reason = format!("{id:?} is no room version that this server knows");
                return Err(ConfigError::value(format!("room_versions.available.{index}"), reason));
            }
        }
        if !self.available.contains(&self.default) {
            return Err(ConfigError::value("room_versions.default", "must be one of `available`"));
        }
        Ok(())
    }
}
