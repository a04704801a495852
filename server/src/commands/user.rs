//! `matriarch user …`: manages accounts from the command line.

use std::io::{BufRead, IsTerminal, stdin};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::cli::UserCommand;
use crate::accounts::create::{NewAccount, create};
use crate::accounts::deactivate::deactivate;
use crate::accounts::password;
use crate::accounts::{names, set_password, tokens};
use crate::base::access_token::AccessToken;
use crate::base::error::ApiError;
use crate::base::failure::Failure;
use crate::config::Config;
use crate::database::Db;
use crate::hub::Hub;
use crate::hub::announce::announce_once;

/// Runs one command against the database of the configured server.
pub async fn run(command: &UserCommand, config: &Config, db: &Db) -> Result<(), Failure> {
    match command {
        UserCommand::Create { name, admin } => create_user(&name.user, *admin, config, db).await,
        UserCommand::Passwd(name) => change_password(&name.user, config, db).await,
        UserCommand::Deactivate { name, erase } => deactivate_user(&name.user, *erase, config, db).await,
    }
}

async fn create_user(user: &str, admin: bool, config: &Config, db: &Db) -> Result<(), Failure> {
    let server_name = &config.server_name;
    let suffix = format!(":{server_name}");
    let username = user.strip_prefix('@').and_then(|id| id.strip_suffix(&suffix)).unwrap_or(user);
    let localpart = names::new_localpart(username, server_name).map_err(failure)?;
    let user_id = names::user_id(&localpart, server_name);
    let password_hash = password::hash(&read_password(&user_id)?, &user_id).await.map_err(failure)?;
    let account = NewAccount {
        user_id: &user_id,
        display_name: &localpart,
        password_hash: &password_hash,
        admin,
        registration_token: None,
        agreed_terms: None,
        device: None,
    };
    create(db, &account).await.map_err(failure)?;
    println!("{user_id} has an account.");
    Ok(())
}

async fn change_password(user: &str, config: &Config, db: &Db) -> Result<(), Failure> {
    let (user_nid, user_id) = find(user, config, db).await?;
    let password = read_password(&user_id)?;
    let hub = Hub::new();
    set_password(db, &hub, user_nid, &password, true, None).await.map_err(failure)?;
    announce_once(&hub, db).await;
    println!("{user_id} has a new password, and is logged out everywhere.");
    Ok(())
}

async fn deactivate_user(user: &str, erase: bool, config: &Config, db: &Db) -> Result<(), Failure> {
    let (user_nid, user_id) = find(user, config, db).await?;
    let token = AccessToken::of(&tokens::random(""));
    let device_id = tokens::device_id();
    db.query(include_str!("../accounts/act_as.sql"), &[&user_nid, &device_id, &token.hash()])
        .await
        .map_err(failure)?;
    let hub = Hub::new();
    deactivate(db, &hub, None, user_nid, &token, erase).await.map_err(failure)?;
    announce_once(&hub, db).await;
    println!("{user_id} is deactivated.");
    Ok(())
}

/// The active account that `user` names.
async fn find(user: &str, config: &Config, db: &Db) -> Result<(i64, String), Failure> {
    let unknown = || Failure::plain(format!("there is no account {user} on {}", config.server_name));
    let [exact, folded] = names::login_candidates(user, &config.server_name).ok_or_else(unknown)?;
    let sql = include_str!("../accounts/find.sql");
    let row = db.query_opt(sql, &[&exact, &folded]).await.map_err(failure)?.ok_or_else(unknown)?;
    if row.get("deactivated") {
        return Err(Failure::plain(format!("{user} has been deactivated")));
    }
    Ok((row.get("user_nid"), row.get("user_id")))
}

/// Reads a line: without echo from a terminal, or from a pipe.
fn read_password(user_id: &str) -> Result<String, Failure> {
    let input = stdin();
    let unreadable = |error| Failure::new("cannot read the password", error);
    let mut line = String::new();
    let echo = input.is_terminal().then(|| tcgetattr(&input).ok()).flatten();
    if let Some(modes) = &echo {
        eprint!("Password for {user_id}: ");
        let mut silent = modes.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&input, OptionalActions::Flush, &silent).map_err(|error| unreadable(error.into()))?;
    }
    let read = input.lock().read_line(&mut line);
    if let Some(modes) = &echo {
        tcsetattr(&input, OptionalActions::Flush, modes).map_err(|error| unreadable(error.into()))?;
        eprintln!();
    }
    read.map_err(unreadable)?;
    let password = line.strip_suffix('\n').unwrap_or(&line);
    Ok(password.strip_suffix('\r').unwrap_or(password).to_owned())
}

fn failure(error: ApiError) -> Failure {
    Failure::plain(error.message)
}
