using Saturn.Engine;
using Saturn.Kernels;

namespace Saturn.Training.Data;

/// <summary>
/// The batches of a run's steps on the device: assembled there out of <see cref="ResidentImages"/>, or by the host, ahead, into tensors that stay where they are. Either way a recorded step reads what
/// <see cref="BeginStep"/> has put in place.
/// </summary>
internal sealed class TrainingInput : IDisposable
{
    private readonly ImageDataset dataset;
    private readonly BatchAssembler assembler;
    private readonly int batch;
    private readonly int batchesPerStep;
    private readonly ulong seed;
    private readonly bool augment;
    private readonly ResidentImages? resident;
    private readonly (Tensor Images, Tensor Labels)[] fixedPlaces;
    private TrainingBatches? batches;

    /// <summary>Uploads the images, or allocates the tensors.</summary>
    /// <param name="device">Where the steps run.</param>
    /// <param name="dataset">The training images.</param>
    /// <param name="batch">Images a batch.</param>
    /// <param name="batchesPerStep">Batches a step.</param>
    /// <param name="seed">The run's seed.</param>
    /// <param name="augment">Whether images are cropped and flipped.</param>
    /// <param name="onDevice">Whether the images lie in device memory.</param>
    public TrainingInput(Device device, ImageDataset dataset, int batch, int batchesPerStep, ulong seed, bool augment, bool onDevice)
    {
        this.dataset = dataset;
        this.batch = batch;
        this.batchesPerStep = batchesPerStep;
        this.seed = seed;
        this.augment = augment;
        assembler = new BatchAssembler(dataset);
        resident = onDevice ? new ResidentImages(device, dataset, seed, augment) : null;
        fixedPlaces = new (Tensor, Tensor)[onDevice ? 0 : batchesPerStep];
        for (int i = 0; i < fixedPlaces.Length; i++)
        {
            fixedPlaces[i] = (
                Tensor.AllocateUnscoped(device, new Shape(batch, dataset.Height, dataset.Width, dataset.Channels)), Tensor.AllocateUnscoped(device, new Shape(batch), ElementType.Int32));
        }
    }

    /// <summary>Opens an epoch.</summary>
    /// <param name="epoch">The epoch, from 0.</param>
    /// <param name="firstBatch">The batch to begin with, as after a resume.</param>
    public void BeginEpoch(int epoch, int firstBatch)
    {
        EndEpoch();
        resident?.BeginEpoch(epoch, firstBatch * batch);
        batches = resident is null ? new TrainingBatches(dataset, assembler, batch, epoch, firstBatch, seed, augment) : null;
    }

    /// <summary>Puts in place what the batches of the next step are made of.</summary>
    public void BeginStep()
    {
        resident?.BeginStep(batch * batchesPerStep);
        foreach (var (images, labels) in fixedPlaces)
        {
            batches!.Next(images, labels);
        }
    }

    /// <summary>A batch of the step: [batch, height, width, channels] and [batch], in the current scope.</summary>
    public (Tensor Images, Tensor Labels) Batch(int index) => resident?.Assemble(batch, index * batch) ?? fixedPlaces[index];

    /// <summary>Ends what the epoch runs in the background.</summary>
    public void EndEpoch()
    {
        batches?.Dispose();
        batches = null;
    }

    /// <summary>Frees the device memory.</summary>
    public void Dispose()
    {
        EndEpoch();
        resident?.Dispose();
        foreach (var (images, labels) in fixedPlaces)
        {
            images.Dispose();
            labels.Dispose();
        }
    }
}
