//go:build tsnet

package main

import (
	"log/slog"

	"sentinel.home.arpa/node-hook/embedded"
	"sentinel.home.arpa/node-hook/hook"
)

// program is the agent's name wherever people meet it.
const program = "sentinel-node-tsnet"

// build is the agent that is a machine of the tailnet by itself.
func build() hook.Build {
	return hook.Build{Join: func(c hook.Config, log *slog.Logger) hook.Network { return embedded.New(c, log) }}
}
