//! Settings from where they are given: defaults < file < environment < options, with the origin of every value.
//!
//! The environment is passed in, never reached for. Promises that what is not known is refused by name and place, and that
//! settings which load are valid.

use crate::{
    settings::Settings,
    table::{Bound, Row, as_toml, row, table},
    validate::InvalidSettings,
};
use figment::{
    Error, Figment, Metadata, Profile, Provider,
    providers::Serialized,
    value::{Dict, Map, Value},
};
use std::{
    ffi::OsString,
    fmt, fs, io,
    path::{Path, PathBuf},
};

/// What the names of our variables begin with.
const PREFIX: &str = "ROLLCALL_";

/// Variables that the program's client commands read; they are no settings.
pub const CLIENT_VARIABLES: [&str; 3] = ["ROLLCALL_URL", "ROLLCALL_TOKEN", "ROLLCALL_CA_FILE"];

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Nobody gave one.
    Default,
    /// Nobody gave one, and the default follows another setting.
    Follows(&'static str),
    /// A file.
    File(PathBuf),
    /// A variable of the environment.
    Environment(String),
    /// An option of the program.
    Option(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Follows(key) => write!(f, "default, following {key}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Option(name) => write!(f, "option {name}"),
        }
    }
}

/// A setting given by an option of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The option, as it is written: `--http`.
    pub option: &'static str,
    /// The setting: `http.listen`.
    pub key: &'static str,
    /// The value, as it was given; lists are separated by commas.
    pub value: String,
}

/// One setting as it is in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// The setting.
    pub key: &'static str,
    /// Its value as TOML writes it; `none` where there is none.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// Valid settings and where they came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Every setting in the order of the table.
    pub effective: Vec<Effective>,
}

impl Loaded {
    /// Where the value of `key` came from.
    #[must_use]
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.effective.iter().find(|e| e.key == key).map(|e| &e.origin)
    }
}

/// Why settings could not be loaded. Nothing was touched.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no TOML.
    #[error("{} is not TOML: {why}", path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Line, column and reason.
        why: String,
    },
    /// A setting that does not exist.
    #[error("unknown setting {key} ({origin}); {known}")]
    Unknown {
        /// As it was given.
        key: String,
        /// Where.
        origin: Origin,
        /// What there is instead.
        known: String,
    },
    /// A value of the wrong type.
    #[error("{key} ({origin}): {why}")]
    Mistyped {
        /// The setting.
        key: String,
        /// Where the value was given.
        origin: Origin,
        /// What was found, and what was expected.
        why: String,
    },
    /// The values break rules.
    #[error("{}", with_origins(.invalid, .origins))]
    Invalid {
        /// Which rules.
        invalid: InvalidSettings,
        /// Where the values came from, for those that are not defaults.
        origins: Vec<(&'static str, Origin)>,
    },
}

fn with_origins(invalid: &InvalidSettings, origins: &[(&'static str, Origin)]) -> String {
    let mut lines = vec![invalid.to_string()];
    lines.extend(origins.iter().map(|(key, origin)| format!("  {key} comes from {origin}")));
    lines.join("\n")
}

/// Loads and validates the settings of a node.
///
/// `environment` is the whole environment of the process; variables of other programs are passed over.
///
/// # Errors
/// [`LoadError`], naming what is wrong and where it was given.
pub fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    overrides: impl IntoIterator<Item = Override>,
) -> Result<Loaded, LoadError> {
    let mut layers = Vec::new();
    if let Some(path) = file {
        layers.push(Layer::of_file(path)?);
    }
    let mut variables: Vec<Layer> = environment
        .into_iter()
        .filter_map(|(name, value)| Layer::of_variable(name, value))
        .collect::<Result<_, _>>()?;
    variables.sort_by_key(|layer| layer.origin.to_string());
    layers.append(&mut variables);
    for given in overrides {
        layers.push(Layer::of_text(given.key, &given.value, Origin::Option(given.option))?);
    }
    let mut figment = Figment::from(Serialized::defaults(Settings::default()));
    for layer in &layers {
        layer.check()?;
        figment = figment.merge(layer);
    }
    let origin_at = |key: &str| origin_of(&layers, figment.find_metadata(key));
    let mut settings: Settings = figment.extract().map_err(|e| mistyped(&layers, e))?;
    let follows = follow(&mut settings, &origin_at);
    let values = settings.as_value();
    let effective: Vec<Effective> = table()
        .map(|row| Effective {
            key: row.key,
            value: values.find_ref(row.key).map_or_else(|| "none".into(), as_toml),
            origin: follows
                .iter()
                .find(|(key, _)| *key == row.key)
                .map_or_else(|| origin_at(row.key), |(_, o)| o.clone()),
        })
        .collect();
    settings.validate().map_err(|invalid| refused(invalid, &effective))?;
    Ok(Loaded { settings, effective })
}

/// Lets defaults follow what was given: whoever shortens the TTL alone means a heartbeat that fits it.
fn follow(settings: &mut Settings, origin_at: &impl Fn(&str) -> Origin) -> Option<(&'static str, Origin)> {
    let (key, followed) = ("presence.heartbeat_ms", "presence.session_ttl_ms");
    let third = settings.presence.session_ttl_ms / 3;
    if origin_at(key) != Origin::Default || settings.presence.heartbeat_ms <= third {
        return None;
    }
    settings.presence.heartbeat_ms = third;
    Some((key, Origin::Follows(followed)))
}

fn refused(invalid: InvalidSettings, effective: &[Effective]) -> LoadError {
    let concerned = |e: &&Effective| invalid.violations.iter().any(|v| v.keys.contains(&e.key));
    let origins = effective
        .iter()
        .filter(concerned)
        .filter(|e| e.origin != Origin::Default)
        .map(|e| (e.key, e.origin.clone()))
        .collect();
    LoadError::Invalid { invalid, origins }
}

fn origin_of(layers: &[Layer], metadata: Option<&Metadata>) -> Origin {
    let named = |m: &Metadata| layers.iter().find(|l| l.origin.to_string() == m.name).map(|l| l.origin.clone());
    metadata.and_then(named).unwrap_or(Origin::Default)
}

fn mistyped(layers: &[Layer], error: Error) -> LoadError {
    let origin = origin_of(layers, error.metadata.as_ref());
    LoadError::Mistyped { key: error.path.join("."), origin, why: error.kind.to_string() }
}

/// Settings given in one place.
struct Layer {
    origin: Origin,
    values: Dict,
}

impl Layer {
    fn of_file(path: &Path) -> Result<Self, LoadError> {
        let text =
            fs::read_to_string(path).map_err(|source| LoadError::Unreadable { path: path.to_path_buf(), source })?;
        let syntax = |why: String| LoadError::Syntax { path: path.to_path_buf(), why };
        let table: toml::Table = toml::from_str(&text).map_err(|e| syntax(e.to_string()))?;
        let values = Value::serialize(table).map_err(|e| syntax(e.to_string()))?;
        let values = values.into_dict().ok_or_else(|| syntax("no table".into()))?;
        Ok(Self { origin: Origin::File(path.to_path_buf()), values })
    }

    /// `None` for a variable that is not ours.
    fn of_variable(name: OsString, value: OsString) -> Option<Result<Self, LoadError>> {
        let name = name.into_string().ok()?;
        let rest = name.strip_prefix(PREFIX)?;
        if CLIENT_VARIABLES.contains(&name.as_str()) {
            return None;
        }
        let key = rest.replace("__", ".").to_lowercase();
        let origin = Origin::Environment(name.clone());
        Some(match value.into_string() {
            Ok(value) => Self::of_text(&key, &value, origin),
            Err(_) => Err(LoadError::Mistyped { key, origin, why: "the value is not UTF-8".into() }),
        })
    }

    /// One setting from the text that a variable or an option holds.
    fn of_text(key: &str, text: &str, origin: Origin) -> Result<Self, LoadError> {
        let Some(row) = row(key) else {
            return Err(unknown(key, origin));
        };
        let value =
            read(row, text).map_err(|why| LoadError::Mistyped { key: key.into(), origin: origin.clone(), why })?;
        Ok(Self { origin, values: figment::util::nest(key, value).into_dict().unwrap_or_default() })
    }

    /// Refuses what no row knows.
    fn check(&self) -> Result<(), LoadError> {
        for (section, value) in &self.values {
            let Some(keys) = value.as_dict().filter(|_| table().any(|r| r.section == section)) else {
                return Err(unknown(section, self.origin.clone()));
            };
            if let Some(key) = keys.keys().map(|key| format!("{section}.{key}")).find(|key| row(key).is_none()) {
                return Err(unknown(&key, self.origin.clone()));
            }
        }
        Ok(())
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.to_string())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

fn unknown(key: &str, origin: Origin) -> LoadError {
    let section = key.split('.').next().unwrap_or(key);
    let short = |r: &Row| r.key.trim_start_matches(r.section).trim_start_matches('.').to_owned();
    let keys: Vec<String> = table().filter(|r| r.section == section).map(short).collect();
    let known = if keys.is_empty() {
        let mut sections: Vec<&str> = table().map(|r| r.section).collect();
        sections.dedup();
        format!("the sections are {}", sections.join(", "))
    } else {
        format!("[{section}] has {}", keys.join(", "))
    };
    LoadError::Unknown { key: key.into(), origin, known }
}

/// Reads a value from the text of a variable or an option: texts as they are, lists as TOML (`["a", "b"]`) or separated
/// by commas, the rest as TOML. Empty is none where there may be none.
fn read(row: &Row, text: &str) -> Result<Value, String> {
    let optional = row.bound.example().is_some();
    if optional && text.is_empty() {
        return Value::serialize(None::<String>).map_err(|e| e.to_string());
    }
    if row.bound.is_text() {
        return Ok(Value::from(text));
    }
    let trimmed = text.trim();
    if row.bound.is_list() && row.bound != Bound::Keys && !trimmed.starts_with('[') {
        let items = trimmed.split(',').map(str::trim).filter(|item| !item.is_empty());
        return Ok(Value::from(items.map(Value::from).collect::<Vec<_>>()));
    }
    let document = format!("value = {trimmed}");
    let expected = || format!("found {text:?}, expected {}", row.bound.rule());
    let mut table: toml::Table = toml::from_str(&document).map_err(|_| expected())?;
    let value = table.remove("value").filter(|_| table.is_empty()).ok_or_else(expected)?;
    Value::serialize(value).map_err(|_| expected())
}
