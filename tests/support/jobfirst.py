"""JobFirst's own route table."""

# Unchanged from JobFirst's document.
SEED = """\
api_gateway:
  routes:
    - path: "/api/auth/*"
      target: "zervi-auth-service"
      auth_required: false
    
    - path: "/api/cluster/*"
      target: "looma-crm-service"
      auth_required: true
      permissions: ["cluster:manage"]
    
    - path: "/api/services/*"
      target: "basic-server-*"
      auth_required: true
      permissions: ["service:access"]
"""  # noqa: W293 -- the blanks are in the document too
