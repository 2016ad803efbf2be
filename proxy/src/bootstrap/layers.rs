//! The three places where a setting can stand, and which of them wins.

use std::{collections::HashMap, ffi::OsString, fmt, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{Mistake, SETTINGS, Setting};

/// The process environment as an argument, so that tests need not change theirs.
pub type Environment = HashMap<String, String>;

/// Where a setting was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `--name`.
    Flag(&'static str),
    /// `USHER_PROXY_NAME`.
    Environment(String),
    /// A key of the bootstrap file.
    File(PathBuf, String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Environment(name) => f.write_str(name),
            Self::File(path, key) if key.is_empty() => write!(f, "{}", path.display()),
            Self::File(path, key) => write!(f, "{}: {key}", path.display()),
        }
    }
}

/// What was written, still as text. A setting that takes no value has the text `true` or `false`.
#[derive(Debug)]
pub(super) struct Layers {
    values: HashMap<&'static str, (Source, Vec<String>)>,
}

impl Layers {
    /// The layers, and what is wrong with the file.
    pub(super) fn read<I, A>(
        arguments: I,
        environment: &Environment,
    ) -> Result<(Self, Vec<Mistake>), Box<clap::Error>>
    where
        I: IntoIterator<Item = A>,
        A: Into<OsString> + Clone,
    {
        let is_told = environment
            .keys()
            .any(|name| name.starts_with("USHER_PROXY_"));
        let matches = command()
            .arg_required_else_help(!is_told)
            .try_get_matches_from(arguments)
            .map_err(Box::new)?;
        let mut mistakes = Vec::new();
        let file = matches
            .get_one::<String>("bootstrap")
            .or_else(|| environment.get("USHER_PROXY_BOOTSTRAP"))
            .map(PathBuf::from);
        let file = file
            .map(|path| read_file(path, &mut mistakes))
            .unwrap_or_default();
        let value = |setting: &'static Setting| {
            from_flag(&matches, setting)
                .or_else(|| from_environment(environment, setting))
                .or_else(|| file.get(setting.name).cloned())
                .map(|value| (setting.name, value))
        };
        Ok((
            Self {
                values: SETTINGS.iter().filter_map(value).collect(),
            },
            mistakes,
        ))
    }

    /// All values of a setting, and where they stand.
    pub(super) fn all(&self, name: &str) -> Option<&(Source, Vec<String>)> {
        self.values.get(name)
    }
}

/// Of a template clap takes what is no tag as it is: it would break the lines of examples where the terminal ends.
const HELP: &str = "\
{before-help}{about-with-newline}
{usage-heading} {usage}

{all-args}

Usually started by `usher run` or `usher gateway`, which choose most of these. By hand:
  usher-proxy --service api --namespace default --application-port 9090 --state-dir /var/lib/usher \
--control-plane 10.0.0.1:15012 --token-file api.token
usher-proxy intercept --help: make the kernel hand connections to the sidecar, for --transparent.
usher-proxy drain, wait and pod: for hooks and containers of pods, as usher inject writes them.

Each setting can also stand in the environment (USHER_PROXY_STATE_DIR) or, in camelCase, in the file of --bootstrap
(stateDir: ...). Flags win over the environment, the environment over the file. USHER_LOG filters the operational log on
stderr [default: info]; the finest level is debug.

Exit codes: 0 drained, 64 usage, 69 no identity: the token is none, is of another mesh, or is refused, 71 an address or a
file that is needed cannot be had, 78 application reachable around the sidecar, or the sidecar's own calls intercepted. The
reason is then also in exit.json in the state directory.";

fn command() -> Command {
    let argument = |setting: &'static Setting| {
        let argument = Arg::new(setting.name).long(setting.name).help(setting.help);
        match (setting.value, setting.name) {
            ("", _) => argument.action(ArgAction::SetTrue),
            (value, name) if separator(name).is_some() => {
                argument.value_name(value).action(ArgAction::Append)
            }
            (value, _) => argument.value_name(value),
        }
    };
    Command::new("usher-proxy")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Sidecar of the Usher mesh: carries every call a service makes or receives. With --gateway: the mesh's door")
        .help_template(HELP)
        .arg(
            Arg::new("bootstrap")
                .long("bootstrap")
                .value_name("FILE")
                .help("YAML with any of the settings below"),
        )
        .args(SETTINGS.iter().map(argument))
}

/// Between the values of a repeatable setting in the environment; `None`: it has one value.
fn separator(setting: &str) -> Option<char> {
    match setting {
        "tcp" | "listen" => Some(','),
        // Its values have commas.
        "certificate" => Some(';'),
        _ => None,
    }
}

type Value = (Source, Vec<String>);

fn from_flag(matches: &ArgMatches, setting: &'static Setting) -> Option<Value> {
    let texts: Vec<String> = if setting.value.is_empty() {
        matches
            .get_flag(setting.name)
            .then(|| "true".to_owned())
            .into_iter()
            .collect()
    } else {
        matches.get_many::<String>(setting.name)?.cloned().collect()
    };
    (!texts.is_empty()).then_some((Source::Flag(setting.name), texts))
}

/// A repeatable setting is separated here, see [`separator`].
fn from_environment(environment: &Environment, setting: &Setting) -> Option<Value> {
    let name = format!(
        "USHER_PROXY_{}",
        setting.name.replace('-', "_").to_uppercase()
    );
    let text = environment.get(&name)?;
    let texts = match separator(setting.name) {
        Some(separator) => text
            .split(separator)
            .map(|part| part.trim().to_owned())
            .filter(|part| !part.is_empty())
            .collect(),
        None => vec![text.clone()],
    };
    Some((Source::Environment(name), texts))
}

fn read_file(path: PathBuf, mistakes: &mut Vec<Mistake>) -> HashMap<&'static str, Value> {
    let mut values = HashMap::new();
    let mut mistake = |key: &str, message: String| {
        mistakes.push(Mistake {
            source: Source::File(path.clone(), key.to_owned()),
            message,
        });
    };
    let parsed = std::fs::read_to_string(&path)
        .map_err(|error| error.to_string())
        .and_then(|text| serde_yaml::from_str(&text).map_err(|error| error.to_string()));
    let mapping: serde_yaml::Mapping = match parsed {
        Ok(mapping) => mapping,
        Err(message) => {
            mistake("", message);
            return values;
        }
    };
    for (key, value) in &mapping {
        let key = scalar(key).unwrap_or_default();
        match SETTINGS
            .iter()
            .find(|setting| camel_case(setting.name) == key)
        {
            None => mistake(&key, unknown(&key)),
            Some(setting) => match texts(value, setting) {
                Some(texts) => {
                    values.insert(setting.name, (Source::File(path.clone(), key), texts));
                }
                None => mistake(
                    &key,
                    format!(
                        "allowed: {}",
                        if separator(setting.name).is_some() {
                            "a list of texts"
                        } else {
                            "one value"
                        }
                    ),
                ),
            },
        }
    }
    values
}

fn unknown(key: &str) -> String {
    let known = SETTINGS
        .iter()
        .map(|setting| camel_case(setting.name))
        .collect::<Vec<_>>();
    let nearest = known
        .iter()
        .find(|name| name.eq_ignore_ascii_case(&key.replace(['-', '_'], "")));
    match nearest {
        Some(name) => format!("no such setting; did you mean {name}?"),
        None => format!("no such setting, allowed: {}", known.join(", ")),
    }
}

fn texts(value: &serde_yaml::Value, setting: &Setting) -> Option<Vec<String>> {
    match value.as_sequence() {
        Some(list) if separator(setting.name).is_some() => list.iter().map(scalar).collect(),
        Some(_) => None,
        None => Some(vec![scalar(value)?]),
    }
}

fn scalar(value: &serde_yaml::Value) -> Option<String> {
    match value {
        serde_yaml::Value::Bool(flag) => Some(flag.to_string()),
        serde_yaml::Value::Number(number) => Some(number.to_string()),
        serde_yaml::Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

fn camel_case(name: &str) -> String {
    let mut parts = name.split('-');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut letters = part.chars();
        text.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        text.push_str(letters.as_str());
    }
    text
}
