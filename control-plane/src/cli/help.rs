//! Help as it was written, and the verb that was probably meant.

use std::ffi::OsString;

use clap::{
    Command, Error,
    error::{ContextKind, ContextValue},
};
use usher_config::parse::nearest;

/// With what follows the flags as it stands in the source, of this command and all below it. Clap would break its lines
/// where the terminal ends, and nobody could copy an example; of a template it takes all but `{tags}` as it is.
pub(super) fn as_written(command: Command) -> Command {
    let command = command.mut_subcommands(as_written);
    match command.get_after_help() {
        None => command,
        Some(text) => {
            let template = format!(
                "{{before-help}}{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{{all-args}}\n\n{text}"
            );
            command.help_template(template)
        }
    }
}

/// Adds the verb that was probably meant, where clap sees none: two letters that have changed places are far apart for it.
/// Those that are not for people are no answer.
pub(super) fn suggest(error: &mut Error, command: &Command, arguments: &[OsString]) {
    let Some(ContextValue::String(found)) = error.get(ContextKind::InvalidSubcommand) else {
        return;
    };
    // The verb itself is wrong, or what is asked of it.
    let verb = arguments.get(1).and_then(|verb| verb.to_str());
    let of = verb.and_then(|verb| command.find_subcommand(verb));
    let known = of.unwrap_or(command).get_subcommands();
    let known = known.filter(|known| !known.is_hide_set());
    let near = nearest(found, known.map(Command::get_name));
    let near = near.map(|near| ContextValue::Strings(vec![near]));
    match near {
        Some(near) => error.insert(ContextKind::SuggestedSubcommand, near),
        None => error.remove(ContextKind::SuggestedSubcommand),
    };
}

#[cfg(test)]
mod tests;
