//! Names of the mesh are answered by DNS: services, their instances as they come and go, and others' names by others.

use anyhow::{Context as _, Result};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::timeout,
};
use usher_tests::{Application, Client, Mesh, eventually, yaml};

use crate::pair;

fn question(name: &str, record_type: RecordType) -> Result<Message> {
    let mut message = Message::new(fastrand::u16(..), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name)?, record_type));
    Ok(message)
}

/// As a stub resolver asks: over UDP, again if nothing comes.
pub(super) async fn ask(mesh: &Mesh, name: &str, record_type: RecordType) -> Result<Message> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(mesh.dns()).await?;
    let question = question(name, record_type)?;
    let mut buffer = [0; 4096];
    for _ in 0..3 {
        socket.send(&question.to_vec()?).await?;
        let limit = std::time::Duration::from_secs(5);
        if let Ok(received) = timeout(limit, socket.recv(&mut buffer)).await {
            let answer = Message::from_vec(&buffer[..received?])?;
            assert_eq!(answer.metadata.id, question.metadata.id);
            assert_eq!(answer.queries, question.queries);
            return Ok(answer);
        }
    }
    anyhow::bail!("no answer about {name}")
}

async fn ask_by_tcp(stream: &mut TcpStream, question: &Message) -> Result<Message> {
    let bytes = question.to_vec()?;
    stream.write_u16(bytes.len().try_into()?).await?;
    stream.write_all(&bytes).await?;
    let mut answer = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut answer).await?;
    Ok(Message::from_vec(&answer)?)
}

fn texts(answer: &Message) -> Vec<String> {
    let texts = answer.answers.iter().map(|record| record.data.to_string());
    texts.collect()
}

#[tokio::test]
async fn a_service_has_a_name_and_its_instances_come_and_go() -> Result<()> {
    let application = Application::echo().await?;
    let (mesh, mut api, _web) = pair(&application, &[]).await?;
    let services = mesh.ask(&["services"])?;
    let service = services
        .as_array()
        .and_then(|all| all.iter().find(|one| one["name"] == "api"))
        .context("api is there")?;
    let address = service["virtualAddresses"][0].as_str().context("has one")?;
    for name in [
        "api.default.mesh.",
        "aPi.deFault.MESH.",
        "api.default.svc.",
        "api.default.svc.cluster.local.",
    ] {
        let answer = ask(&mesh, name, RecordType::A).await?;
        assert!(answer.metadata.authoritative, "{name}");
        assert_eq!(texts(&answer), [address], "{name}");
    }
    let no_data = ask(&mesh, "api.default.mesh.", RecordType::AAAA).await?;
    assert_eq!(no_data.metadata.response_code, ResponseCode::NoError);
    assert!(no_data.answers.is_empty());
    assert_eq!(no_data.authorities[0].record_type(), RecordType::SOA);
    let unknown = ask(&mesh, "apj.default.mesh.", RecordType::A).await?;
    assert_eq!(unknown.metadata.response_code, ResponseCode::NXDomain);
    // It only calls.
    let caller = ask(&mesh, "web.default.mesh.", RecordType::A).await?;
    assert_eq!(caller.metadata.response_code, ResponseCode::NXDomain);

    let answer = ask(&mesh, "_main._tcp.api.default.mesh.", RecordType::SRV).await?;
    let [record] = answer.answers.as_slice() else {
        panic!("{answer}");
    };
    let RData::SRV(srv) = &record.data else {
        panic!("{record}");
    };
    assert_eq!(format!("127.0.0.1:{}", srv.port), api.inbound);
    let target = srv.target.to_ascii();
    assert!(target.ends_with(".api.default.mesh."), "{target}");
    assert_eq!(answer.additionals[0].name, srv.target);
    assert_eq!(
        texts(&ask(&mesh, &target, RecordType::A).await?),
        ["127.0.0.1"]
    );
    api.process.stop().await;
    eventually("the instance's name is gone", async || {
        let answer = ask(&mesh, &target, RecordType::A).await.ok()?;
        (answer.metadata.response_code == ResponseCode::NXDomain).then_some(())
    })
    .await;
    let none = ask(&mesh, "_main._tcp.api.default.mesh.", RecordType::SRV).await?;
    assert_eq!(none.metadata.response_code, ResponseCode::NoError);
    assert!(none.answers.is_empty(), "{none}");
    let address_stays = ask(&mesh, "api.default.mesh.", RecordType::A).await?;
    assert_eq!(texts(&address_stays), [address]);
    Ok(())
}

#[tokio::test]
async fn one_connection_carries_many_questions_and_metrics_say_how_they_ended() -> Result<()> {
    let mesh = Mesh::start(&[yaml::service("api", 8080, "http")]).await?;
    let mut stream = TcpStream::connect(mesh.dns()).await?;
    let mut codes = Vec::new();
    for (name, record_type) in [
        ("api.default.mesh.", RecordType::A),
        ("none.default.mesh.", RecordType::A),
        ("api.default.mesh.", RecordType::ANY),
        ("www.example.com.", RecordType::A),
    ] {
        let answer = ask_by_tcp(&mut stream, &question(name, record_type)?).await?;
        codes.push(answer.metadata.response_code);
    }
    let refused = ResponseCode::Refused;
    assert_eq!(
        codes,
        [
            ResponseCode::NoError,
            ResponseCode::NXDomain,
            refused,
            refused
        ]
    );
    let metrics = Client::direct(mesh.http()).get("/metrics").await?.text();
    for line in [
        "usher_dns_queries_total{outcome=\"answered\"} 1",
        "usher_dns_queries_total{outcome=\"no_name\"} 1",
        "usher_dns_queries_total{outcome=\"refused\"} 2",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    // An answer, which nobody answers: over TCP that is the end.
    let mut answer = question("api.default.mesh.", RecordType::A)?;
    answer.metadata.message_type = MessageType::Response;
    assert!(ask_by_tcp(&mut stream, &answer).await.is_err());
    Ok(())
}

#[tokio::test]
async fn others_names_are_asked_of_others() -> Result<()> {
    let resolver = UdpSocket::bind("127.0.0.1:0").await?;
    let address = resolver.local_addr()?.to_string();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = resolver.recv_from(&mut buffer).await {
            let question = Message::from_vec(&buffer[..length]).unwrap();
            let mut answer = Message::response(question.metadata.id, OpCode::Query);
            answer.add_query(question.queries[0].clone());
            answer.metadata.response_code = ResponseCode::NXDomain;
            let _ = resolver.send_to(&answer.to_vec().unwrap(), from).await;
        }
    });
    let mut mesh = Mesh::start(&[yaml::service("api", 8080, "http")]).await?;
    mesh.restart_names(None, &address).await?;
    let theirs = ask(&mesh, "www.example.com.", RecordType::A).await?;
    assert_eq!(theirs.metadata.response_code, ResponseCode::NXDomain);
    assert!(theirs.metadata.recursion_available && !theirs.metadata.authoritative);
    let ours = ask(&mesh, "api.default.mesh.", RecordType::A).await?;
    assert_eq!(ours.answers.len(), 1);
    Ok(())
}
