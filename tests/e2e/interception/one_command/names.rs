//! What it calls it calls by name, resolved by the C library as ever.

use anyhow::Result;

use super::{LIMIT, called_by, machine::Machine};

/// Port 53 is the only one that a `resolv.conf` can mean; this network is the test's own.
const NAMESERVER: &str = "127.0.0.53:53";

#[tokio::test]
async fn a_command_calls_services_by_their_names_in_the_mesh() -> Result<()> {
    let Some(mut machine) = Machine::new().await? else {
        return Ok(());
    };
    machine.mesh.restart_names(Some(NAMESERVER), "off").await?;
    let resolv = machine.mesh.path("resolv.conf");
    std::fs::write(
        &resolv,
        "nameserver 127.0.0.53\nsearch default.mesh mesh\noptions ndots:2\n",
    )?;
    let script = format!(
        "mount --bind {} /etc/resolv.conf && for name in api.default.mesh api.default api; do \
         curl -sS http://$name:8080/; done; curl -sS http://apj.default.mesh:8080/; exit 7",
        resolv.display()
    );
    let quoted = format!("exec unshare -m sh -c '{script}'");
    let mut web = machine.intercepted("web", &quoted).spawn()?;
    let status = web.process.end(LIMIT).await;
    let printed = web.process.printed();
    assert_eq!(status.code(), Some(7), "{printed}");
    let answers = printed.matches(&called_by("web")).count();
    assert_eq!(answers, 3, "{printed}");
    assert!(
        printed.contains("Could not resolve host: apj.default.mesh"),
        "{printed}"
    );
    Ok(())
}
