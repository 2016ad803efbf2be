//! `usher token create`: permission for one service account to enter the mesh.

use std::{num::NonZeroU32, time::Duration};

use clap::{Args, Subcommand};
use http::Method;
use usher_config::value::{Name, parse_duration};

use super::{
    Failure, Outcome, block_on, exit,
    locate::DataDirectory,
    operator,
    paint::{WARN, paint},
};
use crate::admin::operator::{CreateToken, CreatedToken};

/// Make join tokens, with which sidecars enter the mesh
#[derive(Debug, Args)]
pub(super) struct Token {
    #[command(subcommand)]
    verb: TokenVerb,
}

#[derive(Debug, Subcommand)]
enum TokenVerb {
    Create(Create),
}

/// Print a new join token
///
/// Asks the control plane through its operator socket: whoever may open the socket may make tokens. The token is
/// the only thing on stdout, so it can go straight into a file that only its reader can open. An account that no
/// Workload has is warned of on stderr; its token is made all the same, the Workload may come later.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  (umask 077; usher token create --namespace bank --service-account account > token)
  usher token create --namespace bank --service-account account --uses 1 --ttl 10m --json
  usher token create --service-account web --ttl 7d > token             # of the namespace default

Exit codes: 0 made, 64 usage, 69 no control plane answers, 70 refused.")]
struct Create {
    /// Namespace of the identity that the token permits
    #[arg(long, value_name = "NS", default_value = "default")]
    namespace: Name,
    /// Service account of the identity that the token permits
    #[arg(long, value_name = "SA")]
    service_account: Name,
    /// How long the token can be used, such as 30m, 12h or 7d; at most 90d
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_ttl)]
    ttl: Duration,
    /// How often the token can be used [default: any number of times within its ttl]
    #[arg(long, value_name = "N", value_parser = parse_uses)]
    uses: Option<NonZeroU32>,
    #[command(flatten)]
    data: DataDirectory,
    /// Print {"token","id","expiresAt","namespace","serviceAccount"}
    #[arg(long)]
    json: bool,
}

impl Token {
    pub(super) fn execute(self) -> Outcome {
        let TokenVerb::Create(create) = self.verb;
        let request = CreateToken {
            namespace: create.namespace.to_string(),
            service_account: Some(create.service_account.to_string()),
            service: None,
            ttl: Some(usher_config::value::format_duration(create.ttl)),
            uses: create.uses,
        };
        let created = block_on(request_token(&create.data, &request))?;
        if let Some(warning) = &created.warning {
            anstream::eprintln!("{}: {warning}", paint(WARN, "warning"));
        }
        if create.json {
            return super::print_json(&created);
        }
        anstream::println!("{}", created.token);
        Ok(exit::OK)
    }
}

/// As everywhere, and with days before the rest: tokens live longer than requests.
fn parse_ttl(text: &str) -> Result<Duration, String> {
    let invalid =
        |_| format!("found `{text}`, allowed: such as 30m, 12h, 7d or 1d12h, at most 90d");
    let days = text.split_once('d').and_then(|(days, rest)| {
        let is_number = !days.is_empty() && days.bytes().all(|byte| byte.is_ascii_digit());
        Some((days.parse::<u32>().ok().filter(|_| is_number)?, rest))
    });
    let (days, rest) = days.unwrap_or((0, text));
    let rest = match (days, rest) {
        (1.., "") => Duration::ZERO,
        _ => parse_duration(rest).map_err(invalid)?,
    };
    // Hours have five digits on the way; what is too long the control plane says.
    let hour = Duration::from_secs(3600);
    Ok((rest + 24 * hour * days.min(10_000)).min(99_999 * hour))
}

fn parse_uses(text: &str) -> Result<NonZeroU32, String> {
    text.parse().map_err(|_| {
        "allowed: a number from 1 to 4294967295; left out: any number of times within its ttl"
            .to_owned()
    })
}

/// Asks the local control plane for a token.
pub(super) async fn request_token(
    data: &DataDirectory,
    request: &CreateToken,
) -> Result<CreatedToken, Failure> {
    let (body, limit) = (operator::written(request)?, operator::LIMIT);
    let asked = operator::exchange(data, (Method::POST, "/v1/tokens"), body, limit).await;
    let answer = asked.map_err(|nobody| {
        nobody.advise(
            "one on another machine: make the token there, and give its file with --token-file",
        )
    })?;
    operator::answered(answer.map_err(operator::refused)?)
}

#[cfg(test)]
mod tests;
