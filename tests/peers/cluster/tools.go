//go:build tools

// Package cluster pins the cluster of IPFS nodes that the tests run beside.
package cluster

import _ "github.com/ipfs-cluster/ipfs-cluster/cmd/ipfs-cluster-service"
