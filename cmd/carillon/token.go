package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"carillon/transport"
)

// maxTokenLife bounds a development token: one that never dies is found in a log some day.
const maxTokenLife = 30 * 24 * time.Hour

func tokenCommand() *cobra.Command {
	var user string
	var life time.Duration
	command := &cobra.Command{
		Use:   "token --user alice",
		Short: "Make a development token with the secret of the configuration",
		Long: "Make a token for one user, signed with auth.jwt.hs256_secret or auth.token04.secret of the configuration, and\n" +
			"print it. For development and tests: in production the app's own server makes the tokens.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			cfg, err := Load(sources(command.Flags()))
			if err != nil {
				return err
			}
			token, err := newToken(cfg.Auth, user, life, time.Now())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(command.OutOrStdout(), token)
			return err
		},
	}
	command.Flags().StringVar(&user, "user", "", "user ID that the token is for")
	command.Flags().DurationVar(&life, "ttl", time.Hour, "how long it is valid, 1s..720h")
	addConfigFlag(command.Flags())
	if err := command.MarkFlagRequired("user"); err != nil {
		panic(err) // the flag above is gone
	}
	return command
}

// newToken makes a token that a node with these settings accepts.
func newToken(auth AuthConfig, user string, life time.Duration, now time.Time) (string, error) {
	if n := len(user); n < 1 || n > 32 {
		return "", fmt.Errorf("flag --user: a user ID has 1..32 bytes, this one has %d", n)
	}
	if life < time.Second || life > maxTokenLife {
		return "", fmt.Errorf("flag --ttl: %v is not in 1s..%v", life, maxTokenLife)
	}
	switch {
	case auth.Mode == "token04":
		return transport.NewToken04([]byte(auth.Token04.Secret), auth.Token04.AppID, user, life, now, rand.Reader)
	case auth.Mode == "none":
		return "", errors.New("auth.mode is none: nobody needs a token; set auth.mode to jwt or token04 to have them checked")
	case auth.JWT.HS256Secret == "":
		return "", errors.New("auth.jwt.hs256_secret is not set: tokens of a public key or a JWKS are made where the private key is")
	default:
		return transport.NewJWT([]byte(auth.JWT.HS256Secret), user, life, now)
	}
}
