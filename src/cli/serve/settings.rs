//! What `gwa serve` runs with: flags, the environment, `gwa.toml`, and a configuration of
//! status-go if one is named, in this order.

use clap::Args;
use clap::parser::ValueSource;

use super::ServeArgs;
use crate::cli::config::read_status;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::parser_here;
use crate::config::catalog::CATALOG;
use crate::config::{self, ConfigError, FILE, LimitsPartial, Partial, SetBy, Settings};
use crate::publish::Hints;
use crate::rlpx::NodeKey;

/// What was chosen.
pub struct Chosen {
    /// The settings.
    pub settings: Settings,
    /// The key by which the node was known before, where a configuration brought one.
    pub node_key: Option<NodeKey>,
}

/// The settings that `args`, the environment and the files come to.
pub fn settings(args: &ServeArgs, context: &mut Context) -> Result<Chosen, CliError> {
    let wrong = |error: &ConfigError| {
        let told = CliError::new(Kind::Usage, "the settings are wrong").because(error);
        match error {
            ConfigError::UnknownKey { nearest, .. } => told.hint(format!("is `{nearest}` meant?")),
            _ => told.hint("`gwa config check` lists all that is wrong, with its place"),
        }
    };
    let file = config::read(&context.data).map_err(|error| wrong(&error))?;
    let public_urls = (!args.public_urls.is_empty())
        .then(|| Hints::new(args.public_urls.clone(), None))
        .transpose()
        .map_err(|error| CliError::new(Kind::Usage, "the public URLs are wrong").because(&error))?;
    let flags = Partial {
        listen: args.listen,
        password: args.password.clone(),
        node_key: args.node_key.clone(),
        peers: (!args.peers.is_empty()).then(|| args.peers.clone()),
        bootnodes: (!args.bootnodes.is_empty()).then(|| args.bootnodes.clone()),
        discovery: args.discovery,
        archivers: (!args.archivers.is_empty()).then(|| args.archivers.clone()),
        sources: None,
        reconcile_every: args.reconcile_every,
        nat: args.nat,
        min_pow: args.min_pow,
        seal_every: args.seal_every,
        retention: args.retention,
        follow: args.follow.follow(),
        follow_every: args.follow.follow_every,
        lazy: args.follow.lazy,
        announce: args.announce,
        publish: args.publish.clone(),
        publish_to: (!args.publish_to.is_empty()).then(|| args.publish_to.clone()),
        public_urls,
        limits: LimitsPartial::default(),
        store: args.store.partial(),
        http: args.http.partial(),
        p2p: args.p2p.partial(),
    };
    let (foreign, node_key) = match &args.status_config {
        None => (Partial::default(), None),
        Some(path) => {
            let translated = read_status(path, context)?;
            let partial = config::parse_table(&context.data.join(FILE), translated.table)
                .map_err(|error| wrong(&error))?;
            // It was read when the file was checked.
            let key = translated.node_key.and_then(|key| key.parse().ok());
            (partial, key)
        }
    };
    let mut settings = Settings::resolve_over(&context.data, flags, file, foreign);
    for key in keys_of_the_environment() {
        if let Some(by) = settings.set_by.get_mut(key)
            && *by == SetBy::Flag
        {
            *by = SetBy::Env;
        }
    }
    Ok(Chosen { settings, node_key })
}

/// The keys that the environment of this process sets, and no flag.
fn keys_of_the_environment() -> Vec<&'static str> {
    let Ok(matches) = parser_here().try_get_matches_from(std::env::args_os()) else {
        return Vec::new();
    };
    let mut given = &matches;
    while let Some((_, of_command)) = given.subcommand() {
        given = of_command;
    }
    let flags = ServeArgs::augment_args(clap::Command::new("serve"));
    let is_of_environment = |flag: &str| {
        let mut arguments = flags.get_arguments();
        let argument = arguments.find(|argument| argument.get_long() == Some(flag));
        argument.is_some_and(|argument| {
            let id = argument.get_id().as_str();
            given.try_contains_id(id).is_ok()
                && given.value_source(id) == Some(ValueSource::EnvVariable)
        })
    };
    let keys = CATALOG
        .iter()
        .filter(|key| key.flag.is_some_and(is_of_environment));
    keys.map(|key| key.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_keys_has_the_flags_and_variables_that_the_command_takes() {
        let serve = ServeArgs::augment_args(clap::Command::new("serve"));
        let not_of_files = ["take-over", "replica", "status-config", "qr"];
        let mut taken: Vec<_> = serve
            .get_arguments()
            .filter_map(|argument| {
                let flag = argument.get_long()?.to_owned();
                let env = argument
                    .get_env()
                    .map(|env| env.to_string_lossy().into_owned());
                (!not_of_files.contains(&&*flag)).then_some((flag, env))
            })
            .collect();
        let mut listed: Vec<_> = CATALOG
            .iter()
            .filter_map(|key| Some((key.flag?.to_owned(), key.env())))
            .collect();
        taken.sort();
        listed.sort();
        assert_eq!(taken, listed);
    }
}
