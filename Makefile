# Set-up and entry points. Everything fetched goes into ${XDG_CACHE_HOME:-$HOME/.cache}/sutler, everything built into
# target, and what a training run logs into runs; nothing else is touched.

# Every recipe that needs libtorch sources this, which fetches it once. A LIBTORCH of yours wins.
torch = . scripts/libtorch.sh &&

# Where cmake and nasm are, or can be installed, JPEG files are decoded by libjpeg-turbo.
turbojpeg = $$(scripts/turbojpeg.sh && echo --features turbojpeg)

comma = ,

DATA = fixtures/shapes/train
VAL = fixtures/shapes/val
SECONDS = 600

.PHONY: help train train-mnist test torchrun dlpack bench bench-peers bench-peers-memory bench-peers-photos bench-sampler
.PHONY: gpu-check gpu-bundle photos throughput fixtures golden golden-transforms doc loom tsan asan miri memory fuzz
.PHONY: serve serve-load soak deny minimal-versions msrv public-api

help:
	@echo 'make train [DATA=DIR VAL=DIR]   train a small network on images (a directory for each class)'
	@echo "                                ARGS='--checkpoint DIR', later ARGS='--resume DIR'; ARGS=--help says what else"
	@echo 'make train-mnist                train it on MNIST'
	@echo 'make serve [REDIS=URL] [CHECKPOINT=DIR | MODEL=FILE]   a service that says what is on images, with a page to drop'
	@echo '                                them on; with what make train saved, or a TorchScript file, if you say where.'
	@echo "                                ARGS='--listen ADDRESS', ARGS=--help says what else"
	@echo 'make serve-load                 how much the service does, and how long requests are held up'
	@echo 'make test                       everything that CI runs'
	@echo 'make torchrun                   an epoch shared by processes of torchrun, if PyTorch is there'
	@echo 'make dlpack                     batches as arrays of numpy, PyTorch and JAX, where those are there'
	@echo 'make bench                      the criterion benchmarks'
	@echo 'make bench-sampler              orders, beside torch.randperm'
	@echo 'make bench-peers                both of these:'
	@echo 'make bench-peers-memory         in-memory loading beside other crates'
	@echo 'make bench-peers-photos         photographs beside torchvision, tf.data, DALI, FFCV, SPDL and other crates;'
	@echo '                                installs them, writes docs/BENCHMARKS.md'
	@echo 'make throughput [DATA=DIR]      loader, single thread and bare loop on a folder, or on 2,000 photographs'
	@echo 'make gpu-check [PHOTOS=DIR]     does the CUDA path keep its promises on this GPU? ARGS=--cpu for a dry run without'
	@echo 'make gpu-bundle                 the same for a machine that has torch 2.11 and no Rust: target/gpu-bundle.tar.gz'
	@echo 'make fixtures                   make the files in fixtures again'
	@echo 'make golden                     check the orders against all rows that torch drew; takes 2 GB of memory'
	@echo 'make golden-transforms IMAGES=DIR [GOLDEN=DIR]   what torchvision makes of your images, to check the transforms'
	@echo 'make loom                       the models of the core: every order in which threads can meet at a batch, at its'
	@echo '                                memory, at the gate and at the end of an epoch; LOOM_MAX_PREEMPTIONS=N looks further'
	@echo 'make tsan, make asan, make miri   the tests of the engine and of memory under ThreadSanitizer, AddressSanitizer and'
	@echo '                                Miri, where a nightly toolchain has them'
	@echo 'make soak [SECONDS=600]         loaders of every configuration over data with faults in it, for ten minutes;'
	@echo '                                SEED=N ROUND=N as a failure prints them: that round, again and again'
	@echo 'make deny                       licences, versions, sources and advisories of the dependencies, and how many there are'
	@echo 'make minimal-versions           the tests, with the oldest versions that Cargo.toml allows'
	@echo 'make msrv                       is the Rust that Cargo.toml declares enough?'
	@echo 'make public-api [CHECK=1]       write docs/public-api.txt, or compare it'
	@echo 'make memory                     ten million paths with one worker and with sixteen, and what both have in memory;'
	@echo '                                takes 2 GB of memory'
	@echo 'make fuzz [TARGET=NAME SECONDS=600]   look for input that breaks a parser, where there are a nightly toolchain and'
	@echo '                                cargo-fuzz; all targets, one after another, or that one'
	@echo 'make doc                        the documentation, in target/doc/sutler/index.html'

train:
	@$(torch) cargo run --locked --release --features tch,monitor --example train -- --data '$(DATA)' --val '$(VAL)' $(ARGS)

train-mnist:
	@mnist=$$(scripts/mnist.sh) && $(torch) \
	cargo run --locked --release --features tch,monitor --example train -- --mnist "$$mnist" $(ARGS)

# With torch only where there is something for it to load. The classes are called what `make train` found in DATA.
serve:
	@$(if $(CHECKPOINT)$(MODEL),$(torch)) \
	cargo run --locked --release --features serve$(if $(CHECKPOINT)$(MODEL),$(comma)tch) --example serve -- \
		$(if $(REDIS),--redis '$(REDIS)') $(if $(CHECKPOINT),--checkpoint '$(CHECKPOINT)' --labels '$(DATA)') \
		$(if $(MODEL),--model '$(MODEL)') $(ARGS)

serve-load:
	cargo run --locked --release --features serve --example serve -- --load $(ARGS)

test:
	@$(torch) scripts/test.sh

torchrun:
	@scripts/torchrun.sh

dlpack:
	@scripts/dlpack.sh

bench:
	cargo bench --locked $(turbojpeg)

bench-sampler:
	@$(torch) cargo bench --locked --features tch --bench sampler

bench-peers: bench-peers-memory bench-peers-photos

bench-peers-memory:
	cargo run --locked --release --manifest-path benches/peers/Cargo.toml --target-dir target/peers --bin memory

bench-peers-photos:
	python3 benches/peers/run.py $(if $(ARGS),$(ARGS),--write)

photos:
	@scripts/photos.sh

throughput:
	@photos='$(if $(filter file,$(origin DATA)),,$(DATA))'; photos=$${photos:-$$(scripts/photos.sh)} && \
	cargo build --locked --release $(turbojpeg) --example throughput && for mode in '' --single-threaded --limit '--limit --into-batches'; do \
		target/release/examples/throughput "$$photos" --json $$mode $(ARGS) || exit 1; \
	done

# Photographs of yours, or those that can be made here, or the fixtures, which a dry run always takes.
gpu-check:
	@$(torch) photos='$(PHOTOS)'; \
	[ -n "$$photos" ] || case ' $(ARGS) ' in *' --cpu '*) ;; *) photos=$$(scripts/photos.sh) || photos= ;; esac; \
	cargo run --locked --release --features tch $(turbojpeg) --example gpu_check -- $${photos:+--photos "$$photos"} $(ARGS)

gpu-bundle:
	@$(torch) scripts/gpu-bundle.sh

fixtures:
	cargo run --locked --example fixtures

golden:
	cargo run --locked --release --example golden -- fixtures/golden/torch-2.11-*.json

golden-transforms:
	@scripts/golden-transforms.sh '$(IMAGES)' $(if $(GOLDEN),'$(GOLDEN)')

doc:
	@$(torch) cargo doc --locked --no-deps --all-features

loom:
	@scripts/loom.sh $(ARGS)

tsan:
	@scripts/tsan.sh $(ARGS)

asan:
	@scripts/asan.sh $(ARGS)

miri:
	@scripts/miri.sh $(ARGS)

soak:
	@SUTLER_SOAK_SECONDS='$(SECONDS)' $(if $(SEED),SUTLER_SOAK_SEED='$(SEED)') $(if $(ROUND),SUTLER_SOAK_ROUND='$(ROUND)') \
	cargo test --locked --release --test soak -- --nocapture

deny:
	@scripts/deny.sh
	@scripts/crates.sh

minimal-versions:
	@scripts/minimal-versions.sh

msrv:
	@scripts/msrv.sh

public-api:
	@scripts/public-api.sh $(if $(CHECK),--check)

memory:
	SUTLER_PATHS=$(or $(SUTLER_PATHS),10000000) cargo test --locked --release --test faults memory -- --nocapture $(ARGS)

fuzz:
	@scripts/fuzz.sh $(or $(SECONDS),600) $(TARGET)
