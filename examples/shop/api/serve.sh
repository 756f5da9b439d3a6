echo "the shop api listens on ${SHOP_PORT}"
ls /opt/packages
