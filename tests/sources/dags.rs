//! DAGs made to exhaust whoever walks them.

use std::ops::ControlFlow;

use gwa::blocks::dag::MAX_DAG_DEPTH;
use gwa::blocks::{Block, BlockError, BlockSource};

use super::house::{leaf, node, pool, store};
use super::server::{Server, honest};

/// Servers that give whole DAGs, and that do not.
fn servers(blocks: &[Block]) -> [Server; 2] {
    let stored = store(blocks);
    let singles = store(blocks);
    [
        Server::gateway(stored),
        Server::new(move |asked| match asked.wants_car() {
            true => super::server::Reply::absent(),
            false => honest(&singles, asked),
        }),
    ]
}

fn walk(server: &Server, root: &Block) -> Result<usize, BlockError> {
    let mut given = 0;
    pool(&[&server.url]).get_dag(root.cid(), &|_| false, &mut |_| {
        given += 1;
        ControlFlow::Continue(())
    })?;
    Ok(given)
}

#[test]
fn a_chain_that_is_too_deep_is_left_at_the_bound() {
    let mut blocks = vec![leaf("bottom")];
    for _ in 0..MAX_DAG_DEPTH + 100 {
        blocks.push(node(&[blocks.last().unwrap()]));
    }
    let root = blocks.last().unwrap().clone();
    // An honest server refuses too, so this one sends the chain as it is.
    blocks.reverse();
    let body = super::server::car(root.cid(), &blocks);
    let singles = store(&blocks);
    let server = Server::new(move |asked| match asked.wants_car() {
        true => super::server::Reply::car(body.clone()),
        false => honest(&singles, asked),
    });
    let error = walk(&server, &root).unwrap_err();
    assert!(matches!(error, BlockError::NotADag { .. }), "{error}");
    assert_eq!(
        server.requests(),
        1,
        "nothing is asked for behind the bound"
    );
}

#[test]
fn diamonds_cost_their_blocks() {
    let mut blocks = vec![leaf("bottom")];
    for rung in 0..40 {
        let below = blocks.last().unwrap().clone();
        let (left, right) = (
            node(&[&below, &leaf(&format!("l{rung}"))]),
            node(&[&below, &leaf(&format!("r{rung}"))]),
        );
        let top = node(&[&left, &right]);
        blocks.extend([leaf(&format!("l{rung}")), leaf(&format!("r{rung}"))]);
        blocks.extend([left, right, top]);
    }
    let root = blocks.last().unwrap().clone();
    for server in servers(&blocks) {
        assert_eq!(walk(&server, &root).unwrap(), blocks.len());
        assert!(server.requests() <= blocks.len() + 3);
    }
}

#[test]
fn a_block_with_too_many_links_is_refused() {
    let leaves: Vec<_> = (0..9_000).map(|n| leaf(&n.to_string())).collect();
    let root = node(&leaves.iter().collect::<Vec<_>>());
    for server in servers(&[root.clone(), leaves[0].clone()]) {
        let error = walk(&server, &root).unwrap_err();
        assert!(matches!(error, BlockError::NotADag { .. }), "{error}");
    }
}
