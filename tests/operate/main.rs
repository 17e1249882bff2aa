//! The daemon as its operator meets it: started, asked, watched, ended.

#[path = "../common/started.rs"]
mod started;

mod config;
mod health;
mod house;
mod service;
