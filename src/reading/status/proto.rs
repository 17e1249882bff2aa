//! The protobuf forms, as far as they are read.
//!
//! Of a message inside a wrapper, fields that are not named here are passed over:
//! Status adds to them. Wrappers and layers are named in full.

use prost::Message;

/// A message, and who signed it.
#[derive(Clone, PartialEq, Message)]
pub struct Wrapper {
    #[prost(bytes = "vec", tag = "1")]
    pub signature: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub payload: Vec<u8>,
    #[prost(int32, tag = "3")]
    pub r#type: i32,
}

/// What devices send one another.
#[derive(Clone, PartialEq, Message)]
pub struct Layer {
    #[prost(bytes = "vec", tag = "1")]
    pub old_bundle: Vec<u8>,
    #[prost(string, tag = "2")]
    pub installation_id: String,
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub bundles: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "101")]
    pub direct_message: Vec<Vec<u8>>,
    #[prost(bytes = "vec", tag = "102")]
    pub public_message: Vec<u8>,
}

/// Keys of a sender's devices.
#[derive(Clone, PartialEq, Message)]
pub struct Bundle {
    #[prost(bytes = "vec", tag = "1")]
    pub identity: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub signed_pre_keys: Vec<Vec<u8>>,
    #[prost(bytes = "vec", tag = "4")]
    pub signature: Vec<u8>,
    #[prost(int64, tag = "5")]
    pub timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct ChatMessage {
    #[prost(uint64, tag = "2")]
    pub timestamp: u64,
    #[prost(string, tag = "3")]
    pub text: String,
    #[prost(string, tag = "4")]
    pub response_to: String,
    #[prost(string, tag = "5")]
    pub ens_name: String,
    #[prost(string, tag = "6")]
    pub chat_id: String,
    #[prost(int32, tag = "8")]
    pub content_type: i32,
    #[prost(message, optional, tag = "9")]
    pub sticker: Option<Sticker>,
    #[prost(message, optional, tag = "10")]
    pub image: Option<Image>,
    #[prost(message, optional, tag = "11")]
    pub audio: Option<Audio>,
    #[prost(string, tag = "14")]
    pub display_name: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Sticker {
    #[prost(string, tag = "1")]
    pub hash: String,
    #[prost(int32, tag = "2")]
    pub pack: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Image {
    #[prost(bytes = "vec", tag = "1")]
    pub payload: Vec<u8>,
    #[prost(int32, tag = "2")]
    pub r#type: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Audio {
    #[prost(bytes = "vec", tag = "1")]
    pub payload: Vec<u8>,
    #[prost(uint64, tag = "3")]
    pub duration_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct ContactUpdate {
    #[prost(string, tag = "2")]
    pub ens_name: String,
    #[prost(string, tag = "4")]
    pub display_name: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct EmojiReaction {
    #[prost(string, tag = "2")]
    pub chat_id: String,
    #[prost(string, tag = "3")]
    pub message_id: String,
    #[prost(int32, tag = "5")]
    pub r#type: i32,
    #[prost(bool, tag = "6")]
    pub retracted: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct PinMessage {
    #[prost(string, tag = "2")]
    pub message_id: String,
    #[prost(string, tag = "3")]
    pub chat_id: String,
    #[prost(bool, tag = "4")]
    pub pinned: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct EditMessage {
    #[prost(string, tag = "2")]
    pub text: String,
    #[prost(string, tag = "3")]
    pub chat_id: String,
    #[prost(string, tag = "4")]
    pub message_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct DeleteMessage {
    #[prost(string, tag = "2")]
    pub chat_id: String,
    #[prost(string, tag = "3")]
    pub message_id: String,
}
