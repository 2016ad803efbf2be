//! Facts about accounts, through the gRPC interface over loopback.

mod houses;

use std::collections::HashMap;

use bank_chassis::dial::Dialer;
use bank_chassis::proto::account::account_client::AccountClient;
use bank_chassis::proto::account::{
    BalanceRequest, ListTotalsRequest, MoveRequest, OpenRequest, Total,
};
use bank_chassis::settings::{BaseUrl, Setting};
use bank_chassis::shutdown::Trigger;
use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tonic::Code;
use tonic::transport::Channel;

use super::*;

struct Replica {
    client: AccountClient<Channel>,
    stop: Trigger,
    task: JoinHandle<anyhow::Result<()>>,
}

async fn replica(folder: &tempfile::TempDir) -> Replica {
    let path = folder.path().join("account.db");
    let database = DatabaseUrl::parse(path.to_str().expect("text")).expect("path");
    let listener = Listener::bind("127.0.0.1:0".parse().expect("address"))
        .await
        .expect("bound");
    let url = format!("http://{}", listener.address().expect("address"));
    let (stop, shutdown) = Shutdown::by_hand();
    let task = tokio::spawn(async move { serve(listener, &database, shutdown).await });
    let url = BaseUrl::parse(&url).expect("url");
    let client = AccountClient::new(grpc::channel(&url, &Dialer::direct()).expect("channel"));
    Replica { client, stop, task }
}

fn opening(account: &str, cents: i64) -> OpenRequest {
    OpenRequest {
        operation_id: format!("open-{account}"),
        account_id: account.into(),
        customer_id: format!("customer-of-{account}"),
        currency: "EUR".into(),
        opening_deposit_cents: cents,
    }
}

fn moving(operation: &str, account: &str, cents: i64) -> MoveRequest {
    MoveRequest {
        operation_id: operation.into(),
        account_id: account.into(),
        amount_cents: cents,
        currency: "EUR".into(),
        reference: "rent".into(),
    }
}

async fn balance(client: &mut AccountClient<Channel>, account: &str) -> i64 {
    let request = BalanceRequest {
        account_id: account.into(),
    };
    client
        .balance(request)
        .await
        .expect("balance")
        .into_inner()
        .balance_cents
}

async fn totals(client: &mut AccountClient<Channel>) -> Total {
    let answer = client
        .list_totals(ListTotalsRequest {})
        .await
        .expect("totals")
        .into_inner();
    answer.totals.into_iter().next().expect("one currency")
}

#[tokio::test]
async fn an_opening_deposit_comes_from_the_house() {
    let folder = tempfile::tempdir().expect("folder");
    let Replica {
        mut client,
        stop: _stop,
        ..
    } = replica(&folder).await;
    let state = client
        .open(opening("a", 700))
        .await
        .expect("opened")
        .into_inner();
    assert_eq!((state.balance_cents, state.entries), (700, 1));
    let total = totals(&mut client).await;
    assert_eq!(
        (total.balance_cents, total.house_cents, total.ledger_cents),
        (700, -700, 0)
    );
    assert_eq!((total.accounts, total.unbalanced_accounts), (1, 0));
    assert_eq!(total.opening_deposits_cents, 700);
}

#[tokio::test]
async fn a_repeated_operation_gives_its_first_answer() {
    let folder = tempfile::tempdir().expect("folder");
    let Replica {
        mut client,
        stop: _stop,
        ..
    } = replica(&folder).await;
    client.open(opening("a", 700)).await.expect("opened");
    let first = client
        .debit(moving("p1/debit", "a", 200))
        .await
        .expect("debited")
        .into_inner();
    assert_eq!((first.balance_cents, first.replayed), (500, false));
    client
        .debit(moving("p2/debit", "a", 100))
        .await
        .expect("debited");
    let again = client
        .debit(moving("p1/debit", "a", 200))
        .await
        .expect("answered")
        .into_inner();
    assert_eq!((again.balance_cents, again.replayed), (500, true));
    assert_eq!(again.customer_id, "customer-of-a");
    assert_eq!(balance(&mut client, "a").await, 400);
    client
        .open(opening("a", 700))
        .await
        .expect("answered again");
    assert_eq!(balance(&mut client, "a").await, 400);
}

#[tokio::test]
async fn an_operation_id_belongs_to_its_arguments() {
    let folder = tempfile::tempdir().expect("folder");
    let Replica {
        mut client,
        stop: _stop,
        ..
    } = replica(&folder).await;
    client.open(opening("a", 700)).await.expect("opened");
    client
        .debit(moving("p1/debit", "a", 200))
        .await
        .expect("debited");
    let other = client
        .debit(moving("p1/debit", "a", 201))
        .await
        .expect_err("refused");
    assert_eq!(other.code(), Code::AlreadyExists);
    let other = client
        .credit(moving("p1/debit", "a", 200))
        .await
        .expect_err("refused");
    assert_eq!(other.code(), Code::AlreadyExists);
}

#[tokio::test]
async fn a_refusal_stays_a_refusal_when_funds_arrive() {
    let folder = tempfile::tempdir().expect("folder");
    let Replica {
        mut client,
        stop: _stop,
        ..
    } = replica(&folder).await;
    client.open(opening("a", 100)).await.expect("opened");
    for _ in 0..2 {
        let refused = client
            .debit(moving("p1/debit", "a", 200))
            .await
            .expect_err("refused");
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(
            refused.message().starts_with("insufficient-funds:"),
            "{refused}"
        );
        let credit = moving("salary/credit", "a", 1000);
        client.credit(credit).await.expect("credited");
    }
    assert_eq!(balance(&mut client, "a").await, 1100);
}

#[tokio::test]
async fn every_mistake_of_a_request_is_named() {
    let folder = tempfile::tempdir().expect("folder");
    let Replica {
        mut client,
        stop: _stop,
        ..
    } = replica(&folder).await;
    let wrong = MoveRequest {
        currency: "euro".into(),
        ..moving("", "a b", 0)
    };
    let refused = client.debit(wrong).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
    for field in ["operation_id", "account_id", "currency", "amount_cents"] {
        assert!(refused.message().contains(field), "{field} in {refused}");
    }
    let unknown = client
        .credit(moving("x", "nobody", 1))
        .await
        .expect_err("refused");
    assert_eq!(unknown.code(), Code::NotFound);
    let house = client
        .debit(moving("y", "house-EUR", 1))
        .await
        .expect_err("refused");
    assert_eq!(house.code(), Code::NotFound);
}

/// Two replicas on one file, one of which is stopped half-way: what was acknowledged is there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_share_the_ledger_and_hand_over_under_load() {
    let folder = tempfile::tempdir().expect("folder");
    let (mut one, two) = (replica(&folder).await, replica(&folder).await);
    let accounts = ["a", "b", "c", "d"];
    for account in accounts {
        one.client
            .open(opening(account, 100_000))
            .await
            .expect("opened");
    }
    let payments = (0..400_usize).map(|number| {
        let replica = if number % 2 == 0 { &one } else { &two };
        let (mut first, mut other) = (replica.client.clone(), one.client.clone());
        let from = accounts[number % 4];
        let to = accounts[(number * 7 + 1) % 4];
        async move {
            let debit = moving(&format!("p{number}/debit"), from, 10);
            let credit = moving(&format!("p{number}/credit"), to, 10);
            // What the mesh does when a replica goes away: the same operation at another one.
            if first.debit(debit.clone()).await.is_err() {
                other.debit(debit).await.expect("debited by the other");
            }
            if first.credit(credit.clone()).await.is_err() {
                other.credit(credit).await.expect("credited by the other");
            }
            (from, to)
        }
    });
    let (moved, ()) = tokio::join!(join_all(payments), async {
        while totals(&mut one.client.clone()).await.entries < 100 {
            tokio::task::yield_now().await;
        }
        two.stop.fire();
    });
    two.task.await.expect("joined").expect("stopped cleanly");
    let mut expected: HashMap<&str, i64> = accounts.map(|account| (account, 100_000)).into();
    for (from, to) in moved {
        *expected.entry(from).or_default() -= 10;
        *expected.entry(to).or_default() += 10;
    }
    for (account, cents) in expected {
        assert_eq!(balance(&mut one.client, account).await, cents, "{account}");
    }
    let total = totals(&mut one.client).await;
    assert_eq!(
        (total.balance_cents, total.unbalanced_accounts),
        (400_000, 0)
    );
    assert_eq!((total.debits_cents, total.credits_cents), (4_000, 4_000));
    one.stop.fire();
    one.task.await.expect("joined").expect("stopped cleanly");
}
