//! Opens customers and accounts, patiently: the services may still be starting.

use std::time::Duration;

use anyhow::{Context, bail};
use bank_chassis::client::HttpClient;
use bank_chassis::grpc;
use bank_chassis::proto::account::OpenRequest;
use bank_chassis::proto::account::account_client::AccountClient;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use tonic::transport::Channel;
use tracing::info;

use crate::settings::Settings;

/// How long the services may take to start, for all openings together.
const PATIENCE: Duration = Duration::from_secs(120);

/// Pause between two tries of one opening.
const PAUSE: Duration = Duration::from_millis(250);

const CALL_LIMIT: Duration = Duration::from_secs(5);

const AT_ONCE: usize = 16;

/// Opens all of them; those that exist from an earlier start of the same run are taken as they are.
pub(crate) async fn open(settings: &Settings) -> anyhow::Result<Vec<String>> {
    let http = HttpClient::new(settings.dialer.clone());
    let account = AccountClient::new(grpc::channel(&settings.account, &settings.dialer)?);
    let ids: Vec<String> = (0..settings.customers)
        .map(|number| format!("{}-{number:04}", settings.run))
        .collect();
    let opening = stream::iter(&ids)
        .map(|id| open_one(settings, &http, &account, id))
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>();
    tokio::time::timeout(PATIENCE, opening)
        .await
        .context("the accounts took too long to open")??;
    info!(accounts = ids.len(), "customers and accounts are open");
    Ok(ids)
}

async fn open_one(
    settings: &Settings,
    http: &HttpClient,
    account: &AccountClient<Channel>,
    id: &str,
) -> anyhow::Result<()> {
    // Setting up is repeated until it works, unlike payments: it is made to be repeatable.
    while !register(settings, http, id).await? {
        tokio::time::sleep(PAUSE).await;
    }
    while !open_account(settings, account.clone(), id).await? {
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// False when it should be tried again.
async fn register(settings: &Settings, http: &HttpClient, id: &str) -> anyhow::Result<bool> {
    let customer = json!({ "id": id, "name": format!("Customer {id}"), "email": format!("{id}@bank.example") });
    let url = settings.customer.join("/v1/customers");
    match http.post(url, id, customer.to_string(), CALL_LIMIT).await {
        Ok(answer) if answer.status.is_success() => Ok(true),
        Ok(answer) if matches!(answer.status.as_u16(), 400 | 409) => {
            bail!("customer {id}: {}", String::from_utf8_lossy(&answer.body))
        }
        Ok(answer) => {
            info!(
                id,
                status = answer.status.as_u16(),
                "customer-profile is not ready"
            );
            Ok(false)
        }
        Err(error) => {
            info!(
                id,
                error = &error as &dyn std::error::Error,
                "customer-profile is away"
            );
            Ok(false)
        }
    }
}

/// False when it should be tried again.
async fn open_account(
    settings: &Settings,
    mut account: AccountClient<Channel>,
    id: &str,
) -> anyhow::Result<bool> {
    let message = OpenRequest {
        operation_id: format!("{id}/open"),
        account_id: id.to_owned(),
        customer_id: id.to_owned(),
        currency: settings.currency.clone(),
        opening_deposit_cents: settings.opening_cents,
    };
    let key = message.operation_id.clone();
    match account.open(grpc::request(message, &key, CALL_LIMIT)).await {
        Ok(_) => Ok(true),
        Err(status) => match status.code() {
            // Opened by an earlier start of this run with another deposit: good enough.
            tonic::Code::AlreadyExists => Ok(true),
            tonic::Code::InvalidArgument => bail!("account {id}: {}", status.message()),
            code => {
                info!(id, ?code, status = status.message(), "account is not ready");
                Ok(false)
            }
        },
    }
}
