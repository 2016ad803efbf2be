//! Facts about houses: nobody else can be one, and what was booked on the wrong one is put right.

use std::borrow::Cow;

use sqlx::Executor;

use super::*;

fn opening_in(currency: &str, account: &str, cents: i64) -> OpenRequest {
    OpenRequest {
        currency: currency.into(),
        ..opening(account, cents)
    }
}

#[tokio::test]
async fn no_customer_gets_the_name_of_a_house() {
    let folder = tempfile::tempdir().expect("folder");
    let Replica {
        mut client,
        stop: _stop,
        ..
    } = replica(&folder).await;
    for (currency, account) in [
        ("USD", "house-EUR"),
        ("EUR", "house-EUR"),
        ("EUR", "house-of-cards"),
    ] {
        let refused = client
            .open(opening_in(currency, account, 0))
            .await
            .expect_err("refused");
        assert_eq!(refused.code(), Code::InvalidArgument, "{account}");
        assert!(refused.message().contains("account_id"), "{refused}");
    }
    client.open(opening("a", 700)).await.expect("opened");
    let total = totals(&mut client).await;
    assert_eq!((total.accounts, total.house_cents), (1, -700));
}

/// A ledger as an earlier program left it: the customer's `house-EUR`, in USD, paid a deposit in EUR.
#[tokio::test]
async fn deposits_that_a_customer_paid_for_others_are_booked_over_to_the_house() {
    let folder = tempfile::tempdir().expect("folder");
    before_houses_were_guarded(&folder).await;
    let Replica {
        mut client,
        stop: _stop,
        ..
    } = replica(&folder).await;
    assert_eq!(balance(&mut client, "house-EUR").await, 5_000);
    assert_eq!(balance(&mut client, "a").await, 700);
    client.open(opening("b", 300)).await.expect("opened");
    client.open(opening("c", 9_000)).await.expect("opened");
    let answer = client.list_totals(ListTotalsRequest {}).await;
    let sums = answer.expect("totals").into_inner().totals;
    let sums: Vec<_> = sums
        .iter()
        .map(|total| {
            assert_eq!((total.ledger_cents, total.unbalanced_accounts), (0, 0));
            let currency = total.currency.as_str();
            (
                currency,
                total.balance_cents,
                total.house_cents,
                total.opening_deposits_cents,
            )
        })
        .collect();
    assert_eq!(
        sums,
        [
            ("EUR", 10_000, -10_000, 10_000),
            ("USD", 5_000, -5_000, 5_000)
        ]
    );
}

#[tokio::test]
async fn a_house_of_an_older_ledger_stays_the_house() {
    let folder = tempfile::tempdir().expect("folder");
    let old = ledger_of_the_first_version(&folder).await;
    old.writer
        .execute(
            "INSERT INTO accounts VALUES ('house-EUR', 'house', 'EUR', 1, -50, 1, 0),
                 ('z', 'customer', 'EUR', 0, 50, 1, 0);
             INSERT INTO operations VALUES ('o', 'open', 'z', 'customer', 50, 'EUR', 'done', 50, 0);
             INSERT INTO entries VALUES (1, 'house-EUR', 'o', -50, -50, '', 0), (2, 'z', 'o', 50, 50, '', 0)",
        )
        .await
        .expect("filled");
    old.close().await;
    let Replica {
        mut client,
        stop: _stop,
        ..
    } = replica(&folder).await;
    client.open(opening("a", 700)).await.expect("opened");
    assert_eq!(balance(&mut client, "house-EUR").await, -750);
}

async fn before_houses_were_guarded(folder: &tempfile::TempDir) {
    let old = ledger_of_the_first_version(folder).await;
    old.writer
        .execute(
            "INSERT INTO accounts VALUES ('house-USD', 'house', 'USD', 1, -5000, 1, 0),
                 ('house-EUR', 'thief', 'USD', 0, 4300, 2, 0), ('a', 'customer', 'EUR', 0, 700, 1, 0);
             INSERT INTO operations VALUES
                 ('o1', 'open', 'house-EUR', 'thief', 5000, 'USD', 'done', 5000, 0),
                 ('o2', 'open', 'a', 'customer', 700, 'EUR', 'done', 700, 0);
             INSERT INTO entries VALUES
                 (1, 'house-USD', 'o1', -5000, -5000, '', 0), (2, 'house-EUR', 'o1', 5000, 5000, '', 0),
                 (3, 'house-EUR', 'o2', -700, 4300, '', 0), (4, 'a', 'o2', 700, 700, '', 0)",
        )
        .await
        .expect("filled");
    old.close().await;
}

async fn ledger_of_the_first_version(folder: &tempfile::TempDir) -> Database {
    let path = folder.path().join("account.db");
    let url = DatabaseUrl::parse(path.to_str().expect("text")).expect("path");
    let first = MIGRATIONS.iter().take(1).cloned().collect();
    let migrations = Migrator {
        migrations: Cow::Owned(first),
        ..Migrator::DEFAULT
    };
    Database::open(&url, Durability::ProcessDeath, &migrations)
        .await
        .expect("opened")
}
