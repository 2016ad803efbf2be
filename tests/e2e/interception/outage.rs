//! No control plane: what is known goes on, what nobody can say anything about is not told in plaintext.

use anyhow::Result;
use usher_tests::eventually;

use super::pair::{Pair, api, get, greeter, greeting, virtual_address};

#[tokio::test]
async fn only_what_is_known_to_be_outside_passes_while_nobody_can_be_asked() -> Result<()> {
    let Some(mut pair) = Pair::new(&[]).await? else {
        return Ok(());
    };
    let (asked, never_asked) = (pair.network.host()?, pair.network.host()?);
    for outside in [&asked, &never_asked] {
        greeter(outside, "0.0.0.0:7000")?;
    }
    let _plain = api(&never_asked, "0.0.0.0:7002")?;
    let bytes = |host: &usher_tests::Host| format!("{}:7000", host.ipv4);
    assert_eq!(greeting(&pair.web, &bytes(&asked)).await?, "hello\n");
    let address = format!("{}:8080", virtual_address(&pair.mesh, "api")?);
    let answer = get(&pair.web, &address, "api", "/").await?;
    assert!(answer.contains("200 OK"), "{answer}");

    pair.mesh.kill_server();
    let refused = format!("{}:7002", never_asked.ipv4);
    eventually(
        "HTTP to whom nobody knows is refused with the reason",
        async || {
            let answer = get(&pair.web, &refused, "x", "/").await.ok()?;
            (answer.contains("503") && answer.contains("could not be looked up")).then_some(())
        },
    )
    .await;
    let bytes_refused = greeting(&pair.web, &bytes(&never_asked)).await;
    assert!(bytes_refused.is_err(), "{bytes_refused:?}");
    assert_eq!(greeting(&pair.web, &bytes(&asked)).await?, "hello\n");
    for address in [address, format!("{}:8080", pair.api.ipv4)] {
        let answer = get(&pair.web, &address, "api", "/").await?;
        assert!(
            answer.contains("sa/web"),
            "services are called as ever: {answer}"
        );
    }
    assert!(pair.web_sidecar.access_log().contains("discovery-timeout"));

    pair.mesh.start_server().await?;
    eventually("who is asked about again passes", async || {
        let heard = greeting(&pair.web, &bytes(&never_asked)).await.ok()?;
        (heard == "hello\n").then_some(())
    })
    .await;
    Ok(())
}
