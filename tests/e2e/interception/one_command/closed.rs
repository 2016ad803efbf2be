//! The port of a sidecar that is gone is anybody's: whoever takes it gets nothing of what the command calls.

use anyhow::Result;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::net::TcpListener;
use usher_tests::{Application, Sidecar, eventually, reply, run};

use super::machine::{LIMIT, Machine, children, group, is_gone, outside, says};

/// What a line begins with that the command prints, without it.
fn printed_after(sidecar: &Sidecar, word: &str) -> String {
    let printed = sidecar.process.printed();
    let mut lines = printed.lines();
    lines
        .find_map(|line| line.strip_prefix(word))
        .unwrap_or_default()
        .to_owned()
}

/// Listens at a port as soon as it is free.
async fn take(address: &str) -> Result<Application> {
    let what = format!("{address} is free");
    let listener = eventually(&what, async || TcpListener::bind(address).await.ok()).await;
    Application::on(listener, |_, _| reply(200, "stolen\n"))
}

async fn is_closed() {
    eventually("the table refuses", async || {
        let rules = run("nft".as_ref(), ["list", "ruleset"]);
        rules.stdout.contains("reject with tcp reset").then_some(())
    })
    .await;
}

#[tokio::test]
async fn whoever_takes_the_port_of_a_dead_sidecar_gets_no_call() -> Result<()> {
    let Some(machine) = Machine::new().await? else {
        return Ok(());
    };
    let _outside = outside(7004).await?;
    let call = "read line <&3; curl -sS -m 5 http://10.77.0.1:7004/; echo called=$?";
    let script = format!(
        "trap '' TERM; mkfifo $FIFO; exec 3<>$FIFO; echo outbound=$USHER_OUTBOUND; {call}; {call}"
    );
    for is_usher_killed in [false, true] {
        let fifo = machine.mesh.path(&format!("fifo-{is_usher_killed}"));
        let web = machine.patient("web", &script);
        let web = web.environment("FIFO", fifo.to_str().unwrap());
        let mut web = web.spawn()?;
        says(&web, "outbound=").await;
        let group = group(&web).await;
        std::fs::write(&fifo, "go\n")?;
        says(&web, "called=0").await;
        let sidecar = children(&web, "--control-plane")?;
        assert_eq!(sidecar.len(), 1);
        if is_usher_killed {
            web.process.signal(Signal::SIGKILL);
            web.process.end(LIMIT).await;
        }
        kill(Pid::from_raw(sidecar[0]), Signal::SIGKILL)?;
        let thief = take(&printed_after(&web, "outbound=")).await?;
        is_closed().await;
        std::fs::write(&fifo, "go\n")?;
        says(&web, "called=7").await;
        assert!(thief.received().is_empty(), "{}", web.process.printed());
        is_gone(&group, "the command's end").await;
    }
    Ok(())
}

#[tokio::test]
async fn a_command_of_another_user_hears_that_its_run_was_killed() -> Result<()> {
    let Some(machine) = Machine::new().await? else {
        return Ok(());
    };
    let script = "exec setpriv --reuid 65534 --clear-groups sh -c \
         'trap \"echo got-term; exit\" TERM; echo started-it; while :; do sleep 0.1; done'";
    let mut web = machine.patient("web", script).spawn()?;
    says(&web, "started-it").await;
    let group = group(&web).await;
    web.process.signal(Signal::SIGKILL);
    web.process.end(LIMIT).await;
    says(&web, "got-term").await;
    is_gone(&group, "its own end").await;
    Ok(())
}
