//go:build !linux

package testimage

import (
	"context"
	"errors"
)

var errLinuxOnly = errors.New("images are made on Linux only, from its files")

func busybox() (image, error)     { return image{}, errLinuxOnly }
func noShell() (image, error)     { return image{}, errLinuxOnly }
func noLane() (image, error)      { return image{}, errLinuxOnly }
func exits() (image, error)       { return image{}, errLinuxOnly }
func files() (image, error)       { return image{}, errLinuxOnly }
func debootstrap() (image, error) { return image{}, errLinuxOnly }

func lock(context.Context, string) (unlock func(), err error) { return nil, errLinuxOnly }
