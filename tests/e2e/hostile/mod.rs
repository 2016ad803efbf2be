//! Hostile bytes, from callers and from applications: what could be read in two ways goes no further.

mod http2;
mod reference;
mod requests;
mod responses;

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use futures_util::{StreamExt as _, stream};
use usher_tests::{
    Client, Mesh, Sidecar, eventually,
    raw::{Act, Heard, RawOrigin, say},
    yaml,
};

use requests::{Case, Fate};

/// Long against a hop on loopback, short against a test.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Answers every whole message with 200.
async fn polite() -> Result<RawOrigin> {
    let whole = |bytes: &[u8]| reference::messages(bytes).map_or(0, |(all, _)| all.len());
    RawOrigin::start(move |all, before| Act {
        write: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            .repeat(whole(all).saturating_sub(whole(&all[..before]))),
        close: false,
    })
    .await
}

/// An `api` that takes plaintext too, and `web`.
pub(crate) async fn open_pair(port: u16) -> Result<(Mesh, Sidecar, Sidecar)> {
    let permissive = "  mtls: { mode: Permissive }\n  defaultAction: Allow\n";
    let mesh = Mesh::start(&[yaml::service("api", 8080, "http")]).await?;
    mesh.write(
        "mesh.yaml",
        "apiVersion: usher.dev/v1alpha1\nkind: Mesh\nmetadata: { name: mesh }\nspec: { trustDomain: test.mesh, allowLoosening: true }\n",
    )?;
    mesh.write("access.yaml", &yaml::access_policy("api", permissive))?;
    let api = mesh.sidecar("api").port(port).start().await?;
    let web = mesh.sidecar("web").start().await?;
    eventually("plaintext is served", async || {
        let answer = Client::direct(&api.inbound).get("/ready").await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
    Ok((mesh, api, web))
}

/// A case as it goes over the wire: whole, or in three pieces.
#[derive(Debug)]
struct Shot {
    id: String,
    case: Case,
    pieces: Vec<Vec<u8>>,
}

fn shots() -> Vec<Shot> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut shots = Vec::new();
    for (number, case) in requests::all().into_iter().enumerate() {
        for cuts in [0, 2] {
            let id = format!("{number}-{cuts}");
            let mut bytes = Vec::new();
            for byte in &case.bytes {
                match byte {
                    b'^' => bytes.extend_from_slice(format!("/case-{id}/").as_bytes()),
                    b'$' => bytes.extend_from_slice(format!("/smuggled-{id}/").as_bytes()),
                    byte => bytes.push(*byte),
                }
            }
            let mut at: Vec<usize> = (0..cuts).map(|_| random.usize(..bytes.len())).collect();
            at.sort_unstable();
            let mut pieces = Vec::new();
            for cut in at.into_iter().rev() {
                pieces.insert(0, bytes.split_off(cut));
            }
            pieces.insert(0, bytes);
            pieces.retain(|piece| !piece.is_empty());
            shots.push(Shot {
                id,
                case: case.clone(),
                pieces,
            });
        }
    }
    shots
}

async fn fire(address: &str) -> Vec<(Shot, Heard)> {
    let shots = stream::iter(shots()).map(|shot| async move {
        let pieces: Vec<&[u8]> = shot.pieces.iter().map(Vec::as_slice).collect();
        let heard = say(address, &pieces, PATIENCE).await.expect("a connection");
        (shot, heard)
    });
    shots.buffer_unordered(32).collect().await
}

/// Bodies that reached the origin, by case; fails if any bytes there are not strictly HTTP/1.1.
fn arrived(origin: &RawOrigin) -> BTreeMap<String, Vec<String>> {
    let mut arrived: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for bytes in origin.recorded() {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(
            !text.contains("smuggled"),
            "a second request came through: {text}"
        );
        let (messages, _) = reference::messages(&bytes)
            .unwrap_or_else(|wrong| panic!("{wrong}, in what reached the origin: {text:?}"));
        for message in messages.iter().filter(|message| message.target != "/ready") {
            let id = message
                .target
                .strip_prefix("/case-")
                .and_then(|rest| rest.split('/').next());
            let id = id.unwrap_or_else(|| panic!("from nowhere: {message:?}"));
            let body = String::from_utf8_lossy(&message.body).into_owned();
            arrived.entry(id.to_owned()).or_default().push(body);
        }
    }
    arrived
}

/// What contradicts the fates.
fn contradictions(heard: &[(Shot, Heard)], arrived: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (shot, heard) in heard {
        let bodies = arrived.get(&shot.id).cloned().unwrap_or_default();
        let mut statuses = heard.statuses();
        statuses.retain(|status| *status >= 200);
        let right = match shot.case.fate {
            Fate::Refused(status) => bodies.is_empty() && statuses == [status] && heard.closed,
            Fate::Carried(body) => bodies == [body] && statuses == [200],
            Fate::Stopped => bodies.is_empty() && !statuses.contains(&200) && heard.closed,
        };
        if !right {
            let bytes: String = shot
                .pieces
                .concat()
                .iter()
                .take(300)
                .map(|byte| char::from(*byte))
                .collect();
            wrong.push(format!(
                "{:?}: {bytes:?}\n    → {statuses:?}, closed {}, arrived {bodies:?}",
                shot.case.fate, heard.closed
            ));
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_forwarded_that_could_be_read_in_two_ways() -> Result<()> {
    let origin = polite().await?;
    let (_mesh, api, web) = open_pair(origin.port()).await?;
    for address in [&api.inbound, &web.outbound] {
        let heard = fire(address).await;
        let wrong = contradictions(&heard, &arrived(&origin));
        assert!(
            wrong.is_empty(),
            "{} of {}:\n{}",
            wrong.len(),
            heard.len(),
            wrong.join("\n")
        );
        // Ids are the same on the way in and through the pair.
        origin.forget();
    }
    let refused = api
        .metric("usher_requests_total", &["code=\"400\"", "flag=\"DPE\""])
        .await?;
    assert!(refused > 200.0, "refusals are counted: {refused}");
    let line = api
        .access_log()
        .into_iter()
        .find(|line| line["status"] == 431);
    let flags = line.expect("a refusal in the log")["flags"].to_string();
    assert!(flags.contains("DPE"), "{flags}");
    Ok(())
}

#[tokio::test]
async fn what_follows_a_refused_request_is_not_executed() -> Result<()> {
    let origin = polite().await?;
    let (_mesh, api, _web) = open_pair(origin.port()).await?;
    let first = "GET /case-1/ HTTP/1.1\r\nHost: api\r\n\r\n";
    let bad = "GET /case-2/ HTTP/1.1\r\nHost: api\r\nHost: api\r\n\r\n";
    let all = [first, first, bad, first].concat();
    let heard = say(&api.inbound, &[all.as_bytes()], PATIENCE).await?;
    assert_eq!(heard.statuses(), [200, 200, 400], "{}", heard.text);
    assert!(
        heard.closed && heard.text.contains("x-usher-reason: DPE host-repeated"),
        "{}",
        heard.text
    );
    assert_eq!(arrived(&origin)["1"].len(), 2);
    assert_eq!(arrived(&origin).len(), 1);
    Ok(())
}
