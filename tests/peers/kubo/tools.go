//go:build tools

// Package kubo pins the IPFS node that the tests run beside.
package kubo

import _ "github.com/ipfs/kubo/cmd/ipfs"
