//! `usher run --transparent`: one command of a machine is intercepted, and nobody else.

mod closed;
mod machine;
mod names;

use std::path::Path;

use anyhow::Result;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use usher_tests::{Client, binary, eventually, run};

use machine::{
    GROUPS, LIMIT, Machine, called_by, children, exists, group, grouped, is_gone, outside, says,
    tables,
};

#[tokio::test]
async fn its_calls_travel_through_the_mesh_without_any_setting() -> Result<()> {
    let Some(machine) = Machine::new().await? else {
        return Ok(());
    };
    let _outside = outside(7001).await?;
    let url = &machine.url;
    let script = format!(
        "echo proxy=$all_proxy$ALL_PROXY$https_proxy$HTTPS_PROXY$http_proxy$HTTP_PROXY.; curl -sS {url}; setpriv --reuid 65534 --clear-groups sh -c 'curl -sS {url}x | cat'; \
         curl -sSg http://[fd77::1]:7001/; exit 7"
    );
    let mut web = machine.intercepted("web", &script).spawn()?;
    let status = web.process.end(LIMIT).await;
    let printed = web.process.printed();
    assert_eq!(status.code(), Some(7), "{printed}");
    assert!(printed.contains("proxy=.\n"), "{printed}");
    let called = called_by("web");
    let answers = printed.matches(&called);
    assert_eq!(
        answers.count(),
        2,
        "it and what it starts, as whom it likes: {printed}"
    );
    assert!(printed.contains("outside\n"), "{printed}");
    assert_eq!(machine.application.received().len(), 2);
    let labels = ["direction=\"inbound\"", "sa/web", "code=\"200\""];
    let counted = machine.api.metric("usher_requests_total", &labels).await?;
    assert!((counted - 2.0).abs() < 0.1, "over mutual TLS: {counted}");
    let log = format!("{:?}", web.access_log());
    assert!(log.contains("[fd77::1]:7001"), "IPv6 too: {log}");
    assert!(
        !log.contains("127.0.15."),
        "the proof is nobody's call: {log}"
    );
    assert!(tables().is_empty());
    Ok(())
}

#[tokio::test]
async fn nobody_else_is_touched() -> Result<()> {
    let Some(machine) = Machine::new().await? else {
        return Ok(());
    };
    let outside = outside(7002).await?;
    let script =
        "echo ready; read line; curl -sS http://10.77.0.1:7002/from-inside; echo done; sleep 1000";
    let script = format!("mkfifo $FIFO; exec < $FIFO; {script}");
    let fifo = machine.mesh.path("fifo");
    let fifo = fifo.to_str().unwrap();
    let web = machine
        .intercepted("web", &script)
        .environment("FIFO", fifo)
        .spawn()?;
    let group = group(&web).await;
    eventually("the command waits", async || {
        Path::new(fifo).exists().then_some(())
    })
    .await;
    let caller = Client::direct("10.77.0.1:7002");
    let answer = caller.get("/from-outside").await?;
    assert_eq!(answer.text(), "outside\n");
    std::fs::write(fifo, "go\n")?;
    says(&web, "done").await;
    assert_eq!(outside.received().len(), 2);
    eventually(
        "only the command's call is in its sidecar's log",
        async || {
            let calls = web.access_log();
            let calls = calls
                .iter()
                .filter(|call| call.to_string().contains(":7002"));
            (calls.count() == 1).then_some(())
        },
    )
    .await;
    drop(web);
    is_gone(&group, "dropped").await;
    Ok(())
}

#[tokio::test]
async fn several_live_beside_each_other_and_beside_rules_for_all() -> Result<()> {
    let Some(machine) = Machine::new().await? else {
        return Ok(());
    };
    // Nobody listens there: whom these rules get first reaches nothing.
    let everybody = [
        "intercept",
        "install",
        "--inbound",
        "off",
        "--exclude-uid",
        "0",
    ];
    let installed = run(&binary("usher-proxy"), everybody);
    assert_eq!(installed.code, Some(0), "{installed:?}");
    let url = &machine.url;
    let script = format!(
        "exec setpriv --reuid 65534 --clear-groups sh -c 'while sleep 0.1; do curl -sS {url}; done'"
    );
    let mut web = machine.intercepted("web", &script).spawn()?;
    let batch = machine.intercepted("batch", &script).spawn()?;
    says(&web, &called_by("web")).await;
    says(&batch, &called_by("batch")).await;
    assert!(!web.process.printed().contains("sa/batch"));
    assert_eq!(tables().len(), 3, "{:?}", tables());
    let groups = [group(&web).await, group(&batch).await];
    web.process.stop().await;
    assert!(!exists(&groups[0]) && exists(&groups[1]));
    assert_eq!(tables().len(), 2, "{:?}", tables());
    let before = machine.application.received().len();
    eventually("the other one goes on", async || {
        (machine.application.received().len() > before + 2).then_some(())
    })
    .await;
    let proxy = binary("usher-proxy");
    let removed = grouped(&[proxy.to_str().unwrap(), "intercept", "remove"]).stdout;
    let how = format!("usher-proxy intercept remove --only-cgroup {}", groups[1]);
    assert!(
        removed.contains("removed: table inet usher-intercept\n") && removed.contains(&how),
        "{removed}"
    );
    assert_eq!(tables().len(), 1, "{:?}", tables());
    drop(batch);
    is_gone(&groups[1], "dropped").await;
    Ok(())
}

#[tokio::test]
async fn nothing_remains_however_it_ends() -> Result<()> {
    let Some(machine) = Machine::new().await? else {
        return Ok(());
    };
    // What it leaves behind in the background would be outside of the mesh.
    let lingering = "setsid sleep 1000 & echo started-it; exit 3";
    let mut web = machine.intercepted("web", lingering).spawn()?;
    assert_eq!(web.process.end(LIMIT).await.code(), Some(3));
    is_gone(&group(&web).await, "its own end").await;

    let waiting = "mkdir /sys/fs/cgroup/$(sed -n s,0::/,,p /proc/self/cgroup)/own; echo started-it; sleep 1000";
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let mut web = machine.intercepted("web", waiting).spawn()?;
        says(&web, "started-it").await;
        let group = group(&web).await;
        assert!(exists(&group) && tables().len() == 1);
        web.process.signal(signal);
        web.process.end(LIMIT).await;
        is_gone(&group, signal.as_str()).await;
    }
    Ok(())
}

#[tokio::test]
async fn what_a_crash_leaves_goes_with_the_next_start_or_by_hand() -> Result<()> {
    let Some(machine) = Machine::new().await? else {
        return Ok(());
    };
    let state = machine.mesh.path("state");
    std::fs::create_dir(&state)?;
    let state = state.to_str().unwrap();
    let crash = async || -> Result<String> {
        let web = machine.intercepted(
            "web",
            "trap '' TERM; echo started-it; while :; do sleep 1; done",
        );
        let web = web.argument("--state-dir").argument(state).spawn()?;
        says(&web, "started-it").await;
        let group = group(&web).await;
        let guard = children(&web, "guard")?;
        assert_eq!(guard.len(), 1);
        for pid in [guard[0], web.process.pid().try_into()?] {
            kill(Pid::from_raw(pid), Signal::SIGKILL)?;
        }
        drop(web);
        assert!(exists(&group) && tables().len() == 1);
        Ok(group)
    };
    let left = crash().await?;
    let next = machine.intercepted("web", &format!("curl -sS {}", machine.url));
    let mut next = next.argument("--state-dir").argument(state).spawn()?;
    let status = next.process.end(LIMIT).await;
    let printed = next.process.printed();
    assert!(
        status.success() && printed.contains(&called_by("web")),
        "{printed}"
    );
    is_gone(&left, "the next start").await;

    let left = crash().await?;
    let proxy = binary("usher-proxy");
    let intercept =
        |words: &[&str]| grouped(&[&[proxy.to_str().unwrap(), "intercept"], words].concat()).stdout;
    let named = intercept(&["remove"]);
    let how = format!("usher-proxy intercept remove --only-cgroup {left}");
    assert!(named.contains(&how), "{named}");
    let kept = intercept(&["remove", "--only-cgroup", &left]);
    assert!(
        tables().is_empty() && kept.contains("has processes"),
        "{kept}"
    );
    grouped(&[
        "sh",
        "-c",
        &format!("echo 1 > /sys/fs/cgroup/{left}/cgroup.kill"),
    ]);
    eventually("it is removed when they are gone", async || {
        intercept(&["remove", "--only-cgroup", &left])
            .contains("removed: /sys/fs/cgroup")
            .then_some(())
    })
    .await;
    is_gone(&left, "by hand").await;
    Ok(())
}

#[tokio::test]
async fn a_next_start_does_not_wait_for_what_the_last_one_left() -> Result<()> {
    let Some(machine) = Machine::new().await? else {
        return Ok(());
    };
    let state = machine.mesh.path("state");
    std::fs::create_dir(&state)?;
    let state = state.to_str().unwrap();
    let stubborn = "trap '' TERM; echo started-it; while :; do sleep 1; done";
    let web = machine.intercepted("web", stubborn);
    let mut web = web.argument("--state-dir").argument(state).spawn()?;
    says(&web, "started-it").await;
    let left = group(&web).await;
    web.process.signal(Signal::SIGKILL);
    web.process.end(LIMIT).await;
    drop(web);
    let next = machine.intercepted("web", &format!("curl -sS {}; sleep 1000", machine.url));
    let next = next.argument("--state-dir").argument(state).spawn()?;
    says(&next, &called_by("web")).await;
    assert!(!exists(&left) && tables().len() == 1, "only its own");
    drop(next);
    eventually("all is gone", async || tables().is_empty().then_some(())).await;
    Ok(())
}

#[tokio::test]
async fn what_is_missing_is_said_and_what_there_is_instead() -> Result<()> {
    let Some(machine) = Machine::new().await? else {
        return Ok(());
    };
    let no_groups = GROUPS.map(|word| match word {
        word if word.starts_with("mount") => "mount -t tmpfs none /sys/fs/cgroup && exec \"$@\"",
        word => word,
    });
    let unprivileged = ["setpriv", "--bounding-set", "-net_admin"];
    let unprivileged = [&GROUPS[..], &unprivileged].concat();
    for (within, words) in [
        (
            &no_groups[..],
            "needs control groups of version 2 at /sys/fs/cgroup, where nft looks them up: found tmpfs",
        ),
        (&unprivileged, "run it as root, or with CAP_NET_ADMIN"),
    ] {
        let mut web = machine
            .intercepted("web", "echo started-it")
            .within(within)
            .spawn()?;
        let status = web.process.end(LIMIT).await;
        let printed = web.process.printed();
        assert_eq!(status.code(), Some(71), "{printed}");
        assert!(printed.contains(words), "{words} is not in: {printed}");
        assert!(printed.contains("or leave --transparent out"), "{printed}");
        assert!(!printed.contains("started-it"), "{printed}");
    }
    Ok(())
}

#[tokio::test]
async fn a_command_whose_connections_are_not_handed_over_is_not_started() -> Result<()> {
    let Some(_machine) = Machine::new().await? else {
        return Ok(());
    };
    let group = format!("usher-unproven-{}", std::process::id());
    let proxy = binary("usher-proxy");
    let proxy = proxy.to_str().unwrap();
    let words = [
        "intercept",
        "enter",
        "--only-cgroup",
        &group,
        "--",
        "echo",
        "started-it",
    ];
    let enter = || grouped(&[&[proxy], &words[..]].concat());
    let missing = enter();
    assert_eq!(missing.code, Some(71), "{missing:?}");
    assert!(missing.stderr.contains("make it first"), "{missing:?}");
    let directory = format!("/sys/fs/cgroup/{group}");
    assert_eq!(grouped(&["mkdir", &directory]).code, Some(0));
    let unproven = enter();
    // Everybody's rules hand over its connections too, to a sidecar that is not its own.
    let sidecar = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = sidecar.local_addr()?.port().to_string();
    std::thread::spawn(move || sidecar.incoming().for_each(drop));
    let everybody = [
        "intercept",
        "install",
        "--inbound",
        "off",
        "--outbound-port",
    ];
    let everybody = run(Path::new(proxy), everybody.iter().chain([&port.as_str()]));
    assert_eq!(everybody.code, Some(0), "{everybody:?}");
    let others = enter();
    assert_eq!(grouped(&["rmdir", &directory]).code, Some(0));
    for unproven in [unproven, others] {
        assert_eq!(unproven.code, Some(71), "{unproven:?}");
        let said = &unproven.stderr;
        assert!(said.contains("does not hand over"), "{unproven:?}");
        assert!(!unproven.stdout.contains("started-it"), "{unproven:?}");
    }
    Ok(())
}
