//! Twenty random steps of chaos with a fixed seed; a thousand are done by hand (`usher-load chaos`).

use std::process::Command;

use anyhow::{Result, ensure};
use usher_tests::{Etcd, Process, binary, eventually_for};

#[tokio::test]
async fn twenty_steps_of_chaos_lose_nothing_and_nobody_notices() -> Result<()> {
    // Says so when there is none.
    if Etcd::start().await?.is_none() {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(binary("usher-load"));
    command.args(["chaos", "--steps", "20", "--seed", "1", "--machine-network"]);
    let mut process = Process::start(command, folder.path().join("chaos.log"));
    let limit = std::time::Duration::from_secs(280);
    let ended = eventually_for(limit, "chaos ends", async || process.ended()).await;
    ensure!(ended.success(), "{}", process.printed());
    Ok(())
}
