//! What stands for the words that a page leaves to its reader.

const CID: &str = "bafyreihoftp2zfkwww7o346qsd55ds7xlczhzo3qu4j2e56r2nw3cklp4i";
const NAME: &str = "k51qzi5uqu5dm0t4vbwri4lkg76q03b4x9tsvekgvbu4zli6454ff7w8wdosa4";
const PEER: &str = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
/// The generator of secp256k1: a public key like any other.
const POINT: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798\
                     483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8";
const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
const OWNER: &str = "4a62316623ad457f02cdc5d997ded67a383ec569";

/// `text` with whatever it leaves open filled in.
pub fn filled_in(text: &str) -> String {
    let enode = format!("enode://{POINT}@192.0.2.7:30303");
    match text {
        "HEAD" | "CID" | "A" | "B" | "REF" | "$()" => return CID.to_owned(),
        "ENODE" | "ENODE.." => return enode,
        "01adad.." => return format!("01{}", "0".repeat(72)),
        "04.." => return format!("04{POINT}"),
        "SOURCE" => return "./copy".to_owned(),
        "ADDRESS" => return "folder:/mnt/nas/archive".to_owned(),
        "/ip4/../tcp/../p2p/.." => return format!("/ip4/192.0.2.7/tcp/4001/p2p/{PEER}"),
        _ => {}
    }
    if text.starts_with('$') || text.starts_with("bafyrei…") || text.starts_with("bafyrei..") {
        return CID.to_owned();
    }
    if text.starts_with("enode://") && text.contains(['…', '.']) {
        return enode;
    }
    text.replace("ipns://NAME", &format!("ipns://{NAME}"))
        .replace("/ipfs/HEAD", &format!("/ipfs/{CID}"))
        .replace("gwa://HEAD", &format!("gwa://{CID}"))
        .replace("$()", CID)
        .replace("bafyreic...", CID)
        .replace("12D3KooW…", PEER)
        .replace("037b7fd2…", KEY)
        .replace("4a62…", OWNER)
}
