package modalfake

import (
	"context"
	"maps"

	pb "github.com/modal-labs/modal-client/go/proto/modal_proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// controlPlane serves the objects of a workspace: apps, images, secrets, volumes and
// sandboxes.
type controlPlane struct {
	pb.UnimplementedModalClientServer
	*Server
}

type app struct {
	id, name, environment string
}

// AppGetOrCreate finds an app by its name.
func (c *controlPlane) AppGetOrCreate(_ context.Context, r *pb.AppGetOrCreateRequest) (*pb.AppGetOrCreateResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := r.GetEnvironmentName() + "/" + r.GetAppName()
	a := c.apps[key]
	if a == nil {
		if r.GetObjectCreationType() != pb.ObjectCreationType_OBJECT_CREATION_TYPE_CREATE_IF_MISSING {
			return nil, status.Errorf(codes.NotFound, "App %q not found", r.GetAppName())
		}
		a = &app{id: newID("ap"), name: r.GetAppName(), environment: r.GetEnvironmentName()}
		c.apps[key] = a
	}
	return pb.AppGetOrCreateResponse_builder{AppId: a.id}.Build(), nil
}

// appLocked finds an app by its id.
func (s *Server) appLocked(id string) (*app, error) {
	for _, a := range s.apps {
		if a.id == id {
			return a, nil
		}
	}
	return nil, status.Errorf(codes.NotFound, "App %q not found", id)
}

// EnvironmentGetOrCreate treats every environment as existing.
func (c *controlPlane) EnvironmentGetOrCreate(_ context.Context, r *pb.EnvironmentGetOrCreateRequest) (*pb.EnvironmentGetOrCreateResponse, error) {
	name := r.GetDeploymentName()
	if name == "" {
		name = "main"
	}
	return pb.EnvironmentGetOrCreateResponse_builder{
		EnvironmentId: "en-" + name,
		Metadata: pb.EnvironmentMetadata_builder{
			Name:     name,
			Settings: pb.EnvironmentSettings_builder{ImageBuilderVersion: "2025.06"}.Build(),
		}.Build(),
	}.Build(), nil
}

// SecretGetOrCreate finds a named secret, or keeps the variables it is given.
func (c *controlPlane) SecretGetOrCreate(_ context.Context, r *pb.SecretGetOrCreateRequest) (*pb.SecretGetOrCreateResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := c.named["secret "+r.GetDeploymentName()]
	if r.GetObjectCreationType() == pb.ObjectCreationType_OBJECT_CREATION_TYPE_EPHEMERAL {
		id = newID("st")
		c.secrets[id] = r.GetEnvDict()
	}
	if id == "" {
		return nil, status.Errorf(codes.NotFound, "Secret %q not found", r.GetDeploymentName())
	}
	for _, key := range r.GetRequiredKeys() {
		if _, ok := c.secrets[id][key]; !ok {
			return nil, status.Errorf(codes.NotFound, "Secret %q has no key %q", r.GetDeploymentName(), key)
		}
	}
	return pb.SecretGetOrCreateResponse_builder{SecretId: id}.Build(), nil
}

// envLocked adds the variables of secrets and of sources to env, in order.
func (s *Server) envLocked(env map[string]string, ids []string, sources []*pb.SecretSource) error {
	secret := func(id string) error {
		values, ok := s.secrets[id]
		if !ok {
			return status.Errorf(codes.NotFound, "Secret %q not found", id)
		}
		maps.Copy(env, values)
		return nil
	}
	if len(sources) == 0 {
		for _, id := range ids {
			if err := secret(id); err != nil {
				return err
			}
		}
	}
	for _, source := range sources {
		if id := source.GetSecretId(); id != "" {
			if err := secret(id); err != nil {
				return err
			}
			continue
		}
		maps.Copy(env, source.GetEnv().GetContents())
	}
	return nil
}

// VolumeGetOrCreate finds a volume by its name. Nothing is ever mounted.
func (c *controlPlane) VolumeGetOrCreate(_ context.Context, r *pb.VolumeGetOrCreateRequest) (*pb.VolumeGetOrCreateResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := "volume " + r.GetDeploymentName()
	id := c.named[name]
	switch r.GetObjectCreationType() {
	case pb.ObjectCreationType_OBJECT_CREATION_TYPE_EPHEMERAL:
		id = newID("vo")
	case pb.ObjectCreationType_OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
		if id == "" {
			id = newID("vo")
			c.named[name] = id
		}
	}
	if id == "" {
		return nil, status.Errorf(codes.NotFound, "Volume %q not found", r.GetDeploymentName())
	}
	return pb.VolumeGetOrCreateResponse_builder{VolumeId: id, Version: r.GetVersion()}.Build(), nil
}
