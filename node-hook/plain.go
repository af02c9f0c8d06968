//go:build !tsnet

package main

import "sentinel.home.arpa/node-hook/hook"

// program is the agent's name wherever people meet it.
const program = "sentinel-node"

// build is the agent that uses the tailnet of its host.
func build() hook.Build { return hook.Build{} }
