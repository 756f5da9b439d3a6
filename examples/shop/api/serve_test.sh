test -e /app/serve.sh
