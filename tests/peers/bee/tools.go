//go:build tools

// Package bee pins the Swarm node that the tests run beside.
package bee

import _ "github.com/ethersphere/bee/v2/cmd/bee"
