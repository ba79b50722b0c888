// An ext_authz server that allows everything and does nothing else: the cost of grpc-go itself.
//
// Its argument is the address to listen on. It serves until it is terminated.
package main

import (
	"context"
	"log"
	"net"
	"os"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"
)

type server struct{}

var allowed = &auth.CheckResponse{
	Status:       &status.Status{Code: 0},
	HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: &auth.OkHttpResponse{}},
	// Envoy's RBAC filter denies requests without it.
	DynamicMetadata: &structpb.Struct{
		Fields: map[string]*structpb.Value{"reason": structpb.NewStringValue("ok")},
	},
}

func (server) Check(context.Context, *auth.CheckRequest) (*auth.CheckResponse, error) {
	return allowed, nil
}

func main() {
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	grpcServer := grpc.NewServer()
	auth.RegisterAuthorizationServer(grpcServer, server{})
	log.Fatal(grpcServer.Serve(listener))
}
