<#
.SYNOPSIS
Builds Stampede's image, deploys docker-stack.yml on this Docker Swarm, waits until it answers, and makes something to sell.
.DESCRIPTION
The same as scripts/run-production.sh, for PowerShell 7. Run again, it updates what runs, one task after another.
.EXAMPLE
./scripts/run-production.ps1 -ApiReplicas 4 -RunK6
.EXAMPLE
./scripts/run-production.ps1 -Down -Purge
#>
[CmdletBinding()]
param(
    # As many api tasks.
    [ValidateRange(1, 1000)][int]$ApiReplicas = 2,
    # Takes this image and builds none; with more than one node it must come from a registry.
    [string]$Image = "",
    # Makes no product and no drop.
    [switch]$NoSeed,
    # Then sends the load of a script in k6/, from a container.
    [switch]$RunK6,
    [string]$K6Script = "create-order.js",
    # Removes the stack, but keeps its data and its secrets; with -Purge those as well.
    [switch]$Down,
    [switch]$Purge
)

$ErrorActionPreference = "Stop"
Set-Location (Join-Path $PSScriptRoot "..")

$Stack = "stampede"
$K6Image = "grafana/k6:1.8.1"
$Sku = "demo-sneaker"
$Secrets = @("token_secret", "redis_auth", "redis_url", "mongodb_password", "archive_url", "grafana_password")
# The longest that all of it may take to become ready, in seconds; images are pulled in that time.
$Limit = 600
$ApiPort = if ($env:API_PORT) { $env:API_PORT } else { "4000" }
$GrafanaPort = if ($env:GRAFANA_PORT) { $env:GRAFANA_PORT } else { "4001" }

function Stop-Script([string]$Message) {
    [Console]::Error.WriteLine("error: $Message")
    exit 1
}

# Runs docker, and stops if that fails.
function Invoke-Docker {
    & docker @args
    if ($LASTEXITCODE -ne 0) { Stop-Script "docker $($args -join ' ') failed" }
}

# Whether a docker command succeeds; what it prints is of no interest.
function Test-Docker {
    & docker @args *> $null
    return $LASTEXITCODE -eq 0
}

function New-RandomHex([int]$Bytes) {
    return [Convert]::ToHexString([Security.Cryptography.RandomNumberGenerator]::GetBytes($Bytes)).ToLowerInvariant()
}

function Initialize-Swarm {
    $state = docker info --format '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}'
    if ($state -eq "active false") { Stop-Script "this node is a worker of a Swarm: run this on a manager" }
    if ($state -ne "active true") {
        Write-Output "Running: docker swarm init"
        if (-not (Test-Docker swarm init)) {
            Stop-Script "no Swarm: if this machine has several addresses, run docker swarm init --advertise-addr ADDRESS"
        }
    }
    # Redis and MongoDB stay where their files are.
    if (-not (docker node ls --quiet --filter node.label=stampede.data=true)) {
        Write-Output "Running: docker node update --label-add stampede.data=true (this node keeps the data)"
        Invoke-Docker node update --label-add stampede.data=true (docker info --format '{{.Swarm.NodeID}}') | Out-Null
    }
}

function New-Image {
    $version = git rev-parse --short HEAD 2>$null
    if (-not $version) { $version = "local" }
    # What is not committed is another version each time.
    if (git status --porcelain 2>$null) { $version = "$version-$(Get-Date -Format yyyyMMddHHmmss)" }
    $script:Image = "stampede:$version"
    Write-Output "Building the image $script:Image; the first time takes some minutes."
    Invoke-Docker build --tag $script:Image .
}

# By a file without a line's end: a pipe of PowerShell would add one.
function New-Secret([string]$Name, [string]$Value) {
    $file = New-TemporaryFile
    try {
        [IO.File]::WriteAllText($file.FullName, $Value)
        Invoke-Docker secret create "${Stack}_$Name" $file.FullName | Out-Null
    }
    finally {
        Remove-Item $file
    }
}

# Random ones, once: nobody needs to know them, but for Grafana's.
function Initialize-Secrets {
    $found = @($Secrets | Where-Object { Test-Docker secret inspect "${Stack}_$_" })
    if ($found.Count -eq $Secrets.Count) { return }
    if ($found.Count -ne 0) {
        Stop-Script "some of the secrets are there and some are not: $Secrets. Add those that are missing (docs/deploy.md), or begin anew with -Down -Purge."
    }
    $redis = New-RandomHex 24
    $mongodb = New-RandomHex 24
    $script:GrafanaPassword = New-RandomHex 12
    New-Secret token_secret (New-RandomHex 32)
    New-Secret redis_auth "requirepass $redis"
    New-Secret redis_url "redis://default:$redis@redis:6379"
    New-Secret mongodb_password $mongodb
    New-Secret archive_url "mongodb://stampede:$mongodb@mongodb:27017/stampede?authSource=admin"
    New-Secret grafana_password $script:GrafanaPassword
}

function Publish-Stack {
    $mounted = @("deploy/redis/*.conf", "prometheus/*.yml", "prometheus/rules/*", "grafana/provisioning/*/*", "grafana/dashboards/*")
    $files = Get-ChildItem -Path $mounted
    $bytes = [Text.Encoding]::UTF8.GetBytes(($files | Get-FileHash | ForEach-Object Hash) -join "")
    $env:CONFIGS_VERSION = [Convert]::ToHexString([Security.Cryptography.SHA256]::HashData($bytes)).Substring(0, 10).ToLowerInvariant()
    $env:STACK_IMAGE = $Image
    $env:API_REPLICAS = $ApiReplicas
    $env:API_PORT = $ApiPort
    $env:GRAFANA_PORT = $GrafanaPort
    Invoke-Docker stack deploy --compose-file docker-stack.yml "--detach=true" --prune $Stack
}

# Whether a service has all its tasks, and no update is on its way.
function Test-Settled([string]$Service) {
    $state = docker service inspect --format '{{with .UpdateStatus}}{{.State}}{{end}}' "${Stack}_$Service"
    if ($state -match "^(rollback|paused)") {
        Stop-Script "the update of $Service failed ($state): docker service ps --no-trunc ${Stack}_$Service"
    }
    $replicas = (docker service ls --filter "name=${Stack}_$Service" --format '{{.Replicas}}') -split "/"
    return $state -ne "updating" -and $replicas[0] -eq $replicas[1]
}

function Test-Ready {
    try {
        return (Invoke-RestMethod "http://127.0.0.1:$ApiPort/readyz" -TimeoutSec 5).status -eq "ready"
    }
    catch {
        return $false
    }
}

function Wait-Stack {
    Write-Output "Waiting for the tasks."
    $deadline = (Get-Date).AddSeconds($Limit)
    foreach ($service in "redis", "mongodb", "api", "worker", "prometheus", "grafana") {
        while (-not (Test-Settled $service)) {
            if ((Get-Date) -gt $deadline) {
                Stop-Script "$service is not there after $Limit s: docker service ps --no-trunc ${Stack}_$service"
            }
            Start-Sleep 2
        }
    }
    while (-not (Test-Ready)) {
        if ((Get-Date) -gt $deadline) { Stop-Script "the API is not ready after $Limit s: docker service logs ${Stack}_api" }
        Start-Sleep 2
    }
}

# A task that runs to its end inside the stack's network, where the secret is.
function Add-Sale {
    $name = "${Stack}_seed"
    Test-Docker service rm $name | Out-Null
    Invoke-Docker service create --quiet --detach --name $name --restart-condition none --no-healthcheck `
        --network "${Stack}_backend" --secret "source=${Stack}_token_secret,target=token_secret" `
        --env STAMPEDE_TOKEN_SECRET_FILE=/run/secrets/token_secret --env API_URL=http://tasks.api:4000 $Image `
        seed --sku $Sku --name "Demo Sneaker" --units 100000 --drop-id demo | Out-Null
    $deadline = (Get-Date).AddSeconds(120)
    do {
        if ((Get-Date) -gt $deadline) { Stop-Script "seeding does not end: docker service ps --no-trunc $name" }
        Start-Sleep 1
        $state = docker service ps --format '{{.CurrentState}}' $name | Select-Object -First 1
    } until ($state -match "^(Complete|Failed|Rejected|Shutdown)")
    docker service logs --raw $name 2>&1 | Select-String '^(Product|Drop|error)' | ForEach-Object { ($_.Line -split '{')[0] }
    Invoke-Docker service rm $name | Out-Null
    if ($state -notmatch "^Complete") { Stop-Script "nothing was made to sell" }
}

function Remove-Stack {
    Invoke-Docker stack rm $Stack
    $deadline = (Get-Date).AddSeconds(120)
    while (docker ps --quiet --filter "label=com.docker.stack.namespace=$Stack") {
        if ((Get-Date) -gt $deadline) { Stop-Script "some tasks do not end: docker ps --filter label=com.docker.stack.namespace=$Stack" }
        Start-Sleep 1
    }
    if (-not $Purge) {
        Write-Output "The stack is gone. Its data (volumes) and secrets are kept; -Down -Purge removes them."
        return
    }
    foreach ($name in $Secrets) { Test-Docker secret rm "${Stack}_$name" | Out-Null }
    # A container that has just ended may still hold its volume for a moment.
    Start-Sleep 3
    foreach ($name in docker volume ls --quiet --filter "label=com.docker.stack.namespace=$Stack") {
        Invoke-Docker volume rm $name | Out-Null
    }
    Write-Output "The stack, its secrets, and its data on this node are gone."
}

if (-not (Get-Command docker -ErrorAction SilentlyContinue)) { Stop-Script "Docker is not installed; see docs/deploy.md" }
if (-not (Test-Docker info)) { Stop-Script "Docker's engine does not answer: start it, or say by DOCKER_HOST where it is" }
if ($Purge -and -not $Down) { Stop-Script "-Purge goes with -Down: it deletes every order that the stack has kept" }
if ($Down) {
    Remove-Stack
    exit
}
if ($RunK6 -and -not (Test-Path "k6/$K6Script")) { Stop-Script "there is no k6/$K6Script" }

$GrafanaPassword = ""
Initialize-Swarm
if (-not $Image) { New-Image }
Initialize-Secrets
Publish-Stack
Wait-Stack
if (-not $NoSeed) { Add-Sale }
if ($RunK6) {
    Write-Output "Sending the load of k6/$K6Script."
    Invoke-Docker run --rm --add-host host.docker.internal:host-gateway --volume "${PWD}/k6:/k6:ro" --env "SKU=$Sku" `
        --env "API_URL=http://host.docker.internal:$ApiPort" $K6Image run "/k6/$K6Script"
}

Write-Output "", "Stampede runs: $ApiReplicas api tasks, $Image"
Write-Output "  API         http://127.0.0.1:$ApiPort/api/v1     described at http://127.0.0.1:$ApiPort/docs"
if (-not $NoSeed) { Write-Output "  On sale     http://127.0.0.1:$ApiPort/api/v1/products/$Sku/sale-status" }
Write-Output "  Grafana     http://127.0.0.1:$GrafanaPort"
if ($GrafanaPassword) { Write-Output "              user admin, password $GrafanaPassword (it is shown only this once)" }
Write-Output "  Operator    docker exec (docker ps -qf name=${Stack}_api | Select-Object -First 1) stampede token --operator"
Write-Output "  State       docker stack services $Stack"
Write-Output "  Remove it   ./scripts/run-production.ps1 -Down"
